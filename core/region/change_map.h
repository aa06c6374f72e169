// SPDX-License-Identifier: LGPL-2.1-or-later
// Which pages may not be any more what somebody was told of them: one bit a page, and none unless somebody asks. PageTable
// sets it where a page's state changes, the fault room where a write protection is lifted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "heca/types.h"
#include "region/region_map.h"

namespace heca::region {

/// Owner loop only.
class ChangeMap {
 public:
  /// One bit for each of so many pages, all set: nobody was told of any.
  using Bits = std::vector<std::uint64_t>;
  static constexpr std::uint64_t kWordPages = 64;
  [[nodiscard]] static Bits AllOf(PageCount pages) {
    Bits bits((pages.value() + kWordPages - 1) / kWordPages, ~std::uint64_t{0});
    const std::uint64_t rest = pages.value() % kWordPages;
    if (rest != 0) bits.back() = (std::uint64_t{1} << rest) - 1;
    return bits;
  }

  /// With AllOf the table's pages, made elsewhere: it may take a millisecond.
  void Begin(Bits bits) {
    again_.assign(bits.size(), 0);
    bits_ = std::move(bits);
  }
  void End() { bits_ = again_ = Bits(); }
  [[nodiscard]] bool on() const { return !bits_.empty(); }

  void Set(PageIndex page) {
    if (on()) bits_[page.value() / kWordPages] |= std::uint64_t{1} << page.value() % kWordPages;
  }
  void Set(PageRun run) {
    for (std::uint64_t n = 0; on() && n < run.pages; ++n) Set(run.first + n);
  }
  /// What happens to the page is not over: it is still set after the next Clear.
  void SetTwice(PageIndex page) {
    Set(page);
    if (on()) again_[page.value() / kWordPages] |= std::uint64_t{1} << page.value() % kWordPages;
  }
  void Clear(PageIndex page) {
    const std::uint64_t bit = std::uint64_t{1} << page.value() % kWordPages;
    std::uint64_t& again = again_[page.value() / kWordPages];
    if ((again & bit) == 0) bits_[page.value() / kWordPages] &= ~bit;
    again &= ~bit;
  }
  [[nodiscard]] bool IsSet(PageIndex page) const {
    return (bits_[page.value() / kWordPages] >> page.value() % kWordPages & 1) != 0;
  }
  /// Of the 64 pages from n * 64 on.
  [[nodiscard]] std::uint64_t Word(std::size_t n) const { return bits_[n]; }
  [[nodiscard]] std::size_t words() const { return bits_.size(); }

 private:
  Bits bits_;
  Bits again_;
};

}  // namespace heca::region
