// SPDX-License-Identifier: LGPL-2.1-or-later
// The nouns that cross rooms, as distinct types: a page index is never a slot, and neither is a count of bytes.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace heca {

/// A number with a meaning. Explicit in, explicit out (`value()`), comparable and hashable; no arithmetic between
/// different meanings.
template <class Tag, class Rep>
class Strong {
 public:
  using rep = Rep;
  constexpr Strong() = default;
  constexpr explicit Strong(Rep value) : value_(value) {}
  [[nodiscard]] constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const Strong&) const = default;
  constexpr Strong& operator++() {
    ++value_;
    return *this;
  }
  constexpr Strong operator+(Rep delta) const { return Strong(static_cast<Rep>(value_ + delta)); }
  constexpr Rep operator-(Strong other) const { return static_cast<Rep>(value_ - other.value_); }

 private:
  Rep value_ = 0;
};

/// Index of a page in its region's address space; all blocks of a region count through, in units of its page size.
using PageIndex = Strong<struct PageIndexTag, std::uint64_t>;
/// Number of pages (units of the region's page size).
using PageCount = Strong<struct PageCountTag, std::uint64_t>;
/// Number of bytes.
using Bytes = Strong<struct BytesTag, std::uint64_t>;
/// Where a store keeps one page: an index into a lease's space of slots, from 1. 0 is "no slot".
/// 32 bits address 16 TiB in 4 KiB pages. A slot is never overwritten: write once, read many, release, write again.
using Slot = Strong<struct SlotTag, std::uint32_t>;
inline constexpr Slot kNoSlot{0};
/// A lease of memory at a sponsor, unique at that sponsor for all time. 0 is invalid.
using LeaseId = Strong<struct LeaseIdTag, std::uint64_t>;
/// Ownership of a lease: a higher epoch shuts out every lower one. 0 is invalid.
using Epoch = Strong<struct EpochTag, std::uint64_t>;

/// 4 KiB, the base page of x86-64.
inline constexpr Bytes kBasePage{4096};
/// 2 MiB, hugetlbfs.
inline constexpr Bytes kHugePage{2097152};

/// A region's name: `[A-Za-z0-9._-]{1,64}`, unique on its node, chosen at attach (the domain's name by default).
using RegionId = std::string;

}  // namespace heca

template <class Tag, class Rep>
struct std::hash<heca::Strong<Tag, Rep>> {
  std::size_t operator()(heca::Strong<Tag, Rep> v) const noexcept { return std::hash<Rep>()(v.value()); }
};
