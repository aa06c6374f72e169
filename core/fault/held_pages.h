// SPDX-License-Identifier: LGPL-2.1-or-later
// Pages that were fetched and not placed: traps of the prefetcher. The touch of one is a fault, which tells how far a stream
// has come, and is answered from here without the network.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "fault/pager.h"
#include "heca/types.h"

namespace heca::fault {

/// A ring of copies; the oldest makes room for the next. Such a page stays Prefetching in the table, and its copy counts
/// only in the generation that it was asked for. Owner loop only; allocates at construction.
class HeldPages {
 public:
  explicit HeldPages(Bytes page_size)
      : page_size_(page_size.value()),
        bytes_(std::make_unique<std::byte[]>(kCells * page_size_)),
        cells_(kCells) {}

  /// What made room, if anything did: nobody will find it here any more.
  std::optional<Expected> Hold(const Expected& expected, const std::byte* bytes);
  /// Valid until the next Hold; null: not here.
  [[nodiscard]] const std::byte* Find(const Expected& expected) const;
  /// `page` is being asked for anew. Generations wrap: a copy from an earlier time must not be found by chance.
  void Forget(PageIndex page);
  /// The oldest one, no longer held; to give up all of them.
  std::optional<Expected> Drop();

 private:
  static constexpr std::size_t kCells = 32;  // twice the streams that the prefetcher follows
  struct Cell {
    bool full = false;
    Expected expected;
  };
  const std::size_t page_size_;
  std::unique_ptr<std::byte[]> bytes_;
  std::vector<Cell> cells_;
  std::size_t next_ = 0;
};

}  // namespace heca::fault
