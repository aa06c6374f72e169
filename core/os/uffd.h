// SPDX-License-Identifier: LGPL-2.1-or-later
// A userfaultfd and its ioctls, with the kernel's raw answers. What the answers mean is decided in one place above:
// fault/placer.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/unique_fd.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::os {

/// A virtual address in the process whose faults are served. Never dereferenced here.
using TargetAddress = Strong<struct TargetAddressTag, std::uint64_t>;

enum class UffdEventKind : std::uint8_t {
  kInvalid = 0,
  kMissing = 1,       ///< the page is not in the file
  kMinor = 2,         ///< the page is in the file, the page table entry is not
  kWriteProtect = 3,  ///< a write to a page that was armed
  kRemove = 4,        ///< madvise(DONTNEED or REMOVE) of [address, end); its caller ran on when this was read
  kOther = 5,         ///< an event that was not asked for
};

struct UffdEvent {
  UffdEventKind kind = UffdEventKind::kInvalid;
  bool write = false;
  TargetAddress address;
  TargetAddress end;  ///< kRemove only
  std::int32_t thread = 0;  ///< of a fault: its thread, as that thread names itself (gettid); 0: the descriptor does not tell
};

/// The kernel's answer to one ioctl.
struct UffdAnswer {
  int error = 0;          ///< 0 or the errno
  std::int64_t done = 0;  ///< bytes placed before `error` stopped it; COPY, ZEROPAGE, CONTINUE only, never negative
};

/// How the handshake of a descriptor went.
enum class UffdHandshake : std::uint8_t { kInvalid = 0, kFresh = 1, kTakenOver = 2 };

/// Whether a placed page raises an event at its first write.
enum class Arm : std::uint8_t { kNo = 0, kYes = 1 };

/// Features the engine cannot do without, and those it uses where the kernel has them (UFFD_FEATURE_* bits).
[[nodiscard]] std::uint64_t RequiredUffdFeatures();
[[nodiscard]] std::uint64_t WantedUffdFeatures();
/// Features of a descriptor that only tells which pages are written. Async: the kernel lifts the protection at the
/// first write and notes it for PAGEMAP_SCAN, nobody waits. Sync: the writer waits for whoever reads the descriptor.
/// The sets are fixed for as long as a descriptor of an older hecad may be met: by them it is recognised in the
/// process.
[[nodiscard]] std::uint64_t AsyncTrackingFeatures();
[[nodiscard]] std::uint64_t SyncTrackingFeatures();

/// Owns the descriptor. Thread-safe as far as the kernel is; the engine uses it from its loop alone.
class Uffd {
 public:
  explicit Uffd(unique_fd fd) : fd_(std::move(fd)) {}
  /// A userfaultfd of this process, non-blocking, without handshake: /dev/userfaultfd if it is there, else the system
  /// call. For tests, benchmarks and libheca; a QEMU's is taken by guest/.
  static Result<Uffd> OpenForSelf();

  [[nodiscard]] int fd() const { return fd_.get(); }

  /// UFFDIO_API. kTakenOver: the descriptor had its handshake before (EINVAL) and keeps the features it has.
  Result<UffdHandshake> Handshake(std::uint64_t features);
  /// Registers MISSING, MINOR and WP. Repeating it is harmless. kBusy: another context owns the range.
  Status Register(TargetAddress start, Bytes length);
  /// Registers WP alone: holes are the kernel's to fill, as without us.
  Status RegisterWriteProtect(TargetAddress start, Bytes length);
  /// Nobody waits for this range any more when it returns.
  Status Unregister(TargetAddress start, Bytes length);

  /// Faults that nobody has read yet.
  [[nodiscard]] Result<std::size_t> UnreadFaults() const;
  /// Reads up to events.size() (at most 64) messages; 0 if there are none. Faults come before other events.
  Result<std::size_t> Read(std::span<UffdEvent> events);

  UffdAnswer Copy(TargetAddress to, const std::byte* from, Bytes length, Arm arm);
  /// Not for hugetlbfs (EINVAL).
  UffdAnswer ZeroPage(TargetAddress to, Bytes length);
  UffdAnswer Continue(TargetAddress at, Bytes length, Arm arm);
  UffdAnswer WriteProtect(TargetAddress at, Bytes length, Arm arm);
  UffdAnswer Poison(TargetAddress at, Bytes length);
  UffdAnswer Wake(TargetAddress at, Bytes length);

 private:
  Status RegisterFor(std::uint64_t modes, TargetAddress start, Bytes length);
  unique_fd fd_;
};

}  // namespace heca::os
