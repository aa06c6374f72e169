// SPDX-License-Identifier: LGPL-2.1-or-later
// The local side is reserved too: the sum of all regions' limits (plus slack) must fit into this host's memory, or a
// placing would find none and the guest would hang. tmpfs has no reservation, so hecad keeps the account.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "heca/status.h"
#include "heca/types.h"
#include "os/memory_group.h"

namespace heca::node {

/// What the kernel would still give to RAM files of this kind, in bytes.
class FreeMemory {
 public:
  virtual ~FreeMemory() = default;
  /// For pages of `page_size` in the file system that holds `ram_path`.
  [[nodiscard]] virtual Result<Bytes> Available(Bytes page_size, int ram_fd) const = 0;
};

/// The host itself: MemAvailable and the tmpfs's free blocks, or the pool of huge pages.
class HostFreeMemory final : public FreeMemory {
 public:
  [[nodiscard]] Result<Bytes> Available(Bytes page_size, int ram_fd) const override;
};

/// kResourceExhausted, with the numbers, if `group` (the target's, see os/memory_group.h) cannot hold `limit` bytes of
/// the region and slack, of which `resident` are here: the kernel would kill the target when a page comes back.
[[nodiscard]] Status FitsGroup(const os::MemoryGroup& group, const RegionId& region, Bytes limit, Bytes resident);

/// Thread-safe.
class MemoryBudget {
 public:
  /// Room beyond a limit: pages on their way in and out. The engine stays within it.
  static constexpr std::uint64_t kSlackBytes = 16ULL << 20;

  explicit MemoryBudget(const FreeMemory& memory) : memory_(memory) {}

  /// Books `limit` (plus slack) for a region, replacing what it had booked before. `resident` tells what the region
  /// has taken from the host at any moment, so that memory is not counted twice; it is called under this object's lock
  /// until Drop. kResourceExhausted, with the numbers, if the host does not have it: the former booking stands then.
  Status Book(const RegionId& region, Bytes page_size, int ram_fd, Bytes limit, std::function<Bytes()> resident);
  void Drop(const RegionId& region);
  [[nodiscard]] Bytes Booked() const;

 private:
  struct Booking {
    std::uint64_t page_size = 0;
    std::uint64_t bytes = 0;
    std::function<Bytes()> resident;
  };
  const FreeMemory& memory_;
  mutable std::mutex mutex_;
  std::map<RegionId, Booking> bookings_;
};

}  // namespace heca::node
