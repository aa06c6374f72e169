// SPDX-License-Identifier: LGPL-2.1-or-later
// Where the slots of a lease lie at the sponsor, from its directory. Arithmetic only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "heca/status.h"
#include "heca/types.h"
#include "wire/rdma.h"

namespace heca::transport::rdma {

/// One thread at a time.
class SlotMap {
 public:
  explicit SlotMap(std::size_t page_size) : page_size_(page_size) {}

  /// Of the bytes of a directory, as far as they reach; its entries only get more.
  Status Load(std::span<const std::byte> directory);
  /// Whether all of them are in it.
  [[nodiscard]] bool HasAll(std::span<const Slot> slots) const;

  /// Slots that follow each other, in the list and at the sponsor, and whose marks lie in one page of memory there: Soft-iWARP
  /// answers a read of some bytes across the end of a page with other bytes (Linux 6.1, siw_try_1seg).
  struct Run {
    std::size_t begin = 0;  ///< in the list
    std::size_t count = 0;
    wire::RemoteMemory pages;
    wire::RemoteMemory marks;
  };
  /// The run that begins at `begin` of the list, all of whose slots are in the map.
  [[nodiscard]] Run RunAt(std::span<const Slot> slots, std::size_t begin) const;

 private:
  [[nodiscard]] const wire::DirectoryEntry* Find(Slot slot) const;

  std::size_t page_size_;
  std::vector<wire::DirectoryEntry> entries_;  ///< by their first slots
};

}  // namespace heca::transport::rdma
