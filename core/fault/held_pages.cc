// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/held_pages.h"

#include <cstring>
#include <utility>

namespace heca::fault {

std::optional<Expected> HeldPages::Hold(const Expected& expected, const std::byte* bytes) {
  std::optional<Expected> gone;
  Cell& cell = cells_[next_];
  if (cell.full) gone = cell.expected;
  std::memcpy(bytes_.get() + next_ * page_size_, bytes, page_size_);
  cell = {true, expected};
  next_ = (next_ + 1) % kCells;
  return gone;
}

const std::byte* HeldPages::Find(const Expected& expected) const {
  for (std::size_t i = 0; i < kCells; ++i) {
    const Cell& cell = cells_[i];
    if (cell.full && cell.expected.page == expected.page && cell.expected.generation == expected.generation) {
      return bytes_.get() + i * page_size_;
    }
  }
  return nullptr;
}

void HeldPages::Forget(PageIndex page) {
  for (Cell& cell : cells_) {
    if (cell.expected.page == page) cell.full = false;
  }
}

std::optional<Expected> HeldPages::Drop() {
  for (std::size_t i = 0; i < kCells; ++i) {
    Cell& cell = cells_[(next_ + i) % kCells];
    if (std::exchange(cell.full, false)) return cell.expected;
  }
  return std::nullopt;
}

}  // namespace heca::fault
