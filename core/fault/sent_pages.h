// SPDX-License-Identifier: LGPL-2.1-or-later
// Finds a page's bytes in the write-back buffers: a page that was dropped a moment ago comes back without the network.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "heca/types.h"
#include "region/page_entry.h"

namespace heca::fault {

/// A direct-mapped index. A collision forgets an entry, which costs a round trip. The generation makes the match
/// exact: a page that left again since has another. Owner loop only.
class SentPages {
 public:
  void Add(PageIndex page, region::Generation generation, const std::byte* bytes) {
    cells_[page.value() % kCells] = {page, generation, bytes};
  }
  /// Forgets the page, if that entry is still its: before its bytes are overwritten.
  void Forget(PageIndex page, const std::byte* bytes) {
    Cell& cell = cells_[page.value() % kCells];
    if (cell.page == page && cell.bytes == bytes) cell.bytes = nullptr;
  }
  [[nodiscard]] const std::byte* Find(PageIndex page, region::Generation generation) const {
    const Cell& cell = cells_[page.value() % kCells];
    return cell.page == page && cell.generation == generation ? cell.bytes : nullptr;
  }

 private:
  struct Cell {
    PageIndex page;
    region::Generation generation = 0;
    const std::byte* bytes = nullptr;
  };
  static constexpr std::size_t kCells = 4096;  // four times what the buffers hold
  std::array<Cell, kCells> cells_{};
};

}  // namespace heca::fault
