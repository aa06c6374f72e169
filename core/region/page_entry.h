// SPDX-License-Identifier: LGPL-2.1-or-later
// Everything that is kept about one page, in eight bytes:
//
//   63            32 31            16 15       8   7    6   4 3     0
//   +---------------+----------------+----------+-----+------+-------+
//   |     slot      |   generation   |  policy  |clean|armed | state |
//   +---------------+----------------+----------+-----+------+-------+
//
// All zero is a page that was never touched: Zero, no slot.
#pragma once

#include <cstdint>

#include "heca/types.h"
#include "region/page_state.h"

namespace heca::region {

/// Who still needs to see the next write of a page: the protection is lifted only when nobody does.
enum ArmedFor : std::uint8_t { kArmedForNobody = 0, kArmedForEvict = 1, kArmedForTrack = 2, kArmedForSnapshot = 4 };

/// A page's generation: rises whenever an answer that is on its way must not be placed any more. Wraps at 65536; an
/// answer would have to be late by as many evictions of its page.
using Generation = std::uint16_t;

struct PageEntry {
  PageState state = PageState::kZero;
  std::uint8_t armed = kArmedForNobody;  ///< ArmedFor bits
  /// Here: armed, and `slot` (or, without slot, zero) is what the page holds. Coming: will be placed so.
  bool clean = false;
  std::uint8_t policy = 0;
  Generation generation = 0;
  Slot slot = kNoSlot;

  static constexpr std::uint64_t kPolicyMask = 0xFF00;  ///< of the eight bytes
  [[nodiscard]] static constexpr PageEntry Decode(std::uint64_t raw) {
    PageEntry entry;
    entry.state = static_cast<PageState>(raw & 0xF);
    entry.armed = static_cast<std::uint8_t>(raw >> 4 & 0x7);
    entry.clean = (raw >> 7 & 1) != 0;
    entry.policy = static_cast<std::uint8_t>(raw >> 8 & 0xFF);
    entry.generation = static_cast<Generation>(raw >> 16 & 0xFFFF);
    entry.slot = Slot(static_cast<std::uint32_t>(raw >> 32));
    return entry;
  }
  [[nodiscard]] constexpr std::uint64_t Encode() const {
    return std::uint64_t{static_cast<std::uint8_t>(state)} | std::uint64_t{armed} << 4 |
           std::uint64_t{clean ? 1U : 0U} << 7 | std::uint64_t{policy} << 8 | std::uint64_t{generation} << 16 |
           std::uint64_t{slot.value()} << 32;
  }
  [[nodiscard]] Generation NextGeneration() const { return static_cast<Generation>(generation + 1U); }
  constexpr bool operator==(const PageEntry&) const = default;
};

}  // namespace heca::region
