// SPDX-License-Identifier: LGPL-2.1-or-later
// Words that are all zero and take no memory until they are written: 4 KiB at a time, by the kernel's zero page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/check.h"

namespace heca::region {

class LazyWords {
 public:
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::uint64_t operator[](std::size_t index) const { return words_.get()[index]; }
  [[nodiscard]] std::uint64_t& operator[](std::size_t index) { return words_.get()[index]; }

  /// Keeps what is there; never shrinks. Out of memory ends the process, as with every container.
  void Grow(std::size_t size) {
    if (size <= size_) return;
    Words grown(static_cast<std::uint64_t*>(std::calloc(size, sizeof(std::uint64_t))));  // untouched where it is large
    HECA_CHECK(grown != nullptr);
    for (std::size_t i = 0; i < size_; ++i) {
      if ((*this)[i] != 0) grown.get()[i] = (*this)[i];
    }
    words_ = std::move(grown);
    size_ = size;
  }

 private:
  struct Free {
    void operator()(std::uint64_t* words) const { std::free(words); }
  };
  using Words = std::unique_ptr<std::uint64_t, Free>;
  Words words_;
  std::size_t size_ = 0;
};

}  // namespace heca::region
