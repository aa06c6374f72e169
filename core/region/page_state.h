// SPDX-License-Identifier: LGPL-2.1-or-later
// Where a page is, and which moves are legal.
//
//            placed zero / found in the file
//   +------+ -----------------------------------------------------------------> +------+
//   | Zero | <----------------- guest discarded it (REMOVE) ------------------- | Here | <-----------------+
//   +------+ <--------------------------------------------------+               +------+                   |
//      ^  ^                                                     |                |  |  dirty: armed        |
//      |  | REMOVE                                      punched,|                |  v                      |
//      |  +-------------- +------+ <--- punched -- +----------+ | all zero       | +---------+  written    |
//      |                  | Away |                 | Dropping |-+                | | Leaving |------+      |
//      |  parked: ENOMEM, +------+                 +----------+ <----------------+ +---------+      v      |
//      |  EAGAIN, shutdown ^ |  | prefetch              ^  ^         clean            |        +--------+  |
//      |                   | |  v                       |  +--------------------------+        | Cancel |--+
//      |                   | | +-------------+          |            stored, or all zero       +--------+  |
//      |       demand fault| | | Prefetching |          |                           unprotected             |
//      |                   | v +-------------+          |                                                  |
//      |                 +--------+  | promoted         |                                                  |
//      +--- REMOVE ----- | Coming | <+--- placed ----------------------------------------------------------+
//                        +--------+
//      store lost it: Coming, Prefetching -> Lost; asked again: Lost, Poisoned -> Away;
//      by name: Lost -> Poisoned, Lost or Poisoned -> Zero (zero-filled); discarded: Lost, Poisoned -> Zero.
//
// Recovery after SIGKILL uses the same table: what it needs more (Leaving -> Here, Dropping -> Here, Leaving or Cancel
// -> Zero) is marked there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace heca::region {

/// The numbers are in the journal: never renumber.
enum class PageState : std::uint8_t {
  kZero = 0,         ///< never stored: whatever the file holds, else zero
  kHere = 1,         ///< in the file; dirty, or clean: armed, and its slot (or "all zero") is valid
  kAway = 2,         ///< at the store, in `slot`; not in the file
  kComing = 3,       ///< asked for on the urgent connection; a thread waits
  kPrefetching = 4,  ///< asked for on a bulk connection; nobody waits yet
  kLeaving = 5,      ///< armed; being copied to `slot`
  kDropping = 6,     ///< stored in `slot` (none: all zero); being punched out of the file
  kCancel = 7,       ///< written while leaving; being unprotected
  kLost = 8,         ///< the store no longer has `slot`; threads that touch it wait
  kPoisoned = 9,     ///< lost, and a touch raises a memory error because somebody asked for that by name
};
inline constexpr std::size_t kPageStates = 10;

[[nodiscard]] std::string_view ToString(PageState state);

/// True for states whose page takes local memory (or is about to).
[[nodiscard]] constexpr bool IsResident(PageState state) {
  return state == PageState::kHere || state == PageState::kComing || state == PageState::kPrefetching ||
         state == PageState::kLeaving || state == PageState::kDropping || state == PageState::kCancel;
}

/// True for states whose page is not in the file and comes from its slot: nothing has been placed yet.
[[nodiscard]] constexpr bool IsWithStore(PageState state) {
  return state == PageState::kAway || state == PageState::kComing || state == PageState::kPrefetching;
}

namespace internal {
constexpr std::uint16_t To() { return 0; }
template <class... More>
constexpr std::uint16_t To(PageState first, More... more) {
  return static_cast<std::uint16_t>((1U << static_cast<unsigned>(first)) | To(more...));
}
}  // namespace internal

/// kLegalMoves[from] has bit `to` set for every legal move. Staying in a state (amending an entry) is always legal.
inline constexpr std::array<std::uint16_t, kPageStates> kLegalMoves = [] {
  using enum PageState;
  using internal::To;
  std::array<std::uint16_t, kPageStates> moves{};
  const auto at = [&moves](PageState from) -> std::uint16_t& { return moves[static_cast<std::size_t>(from)]; };
  at(kZero) = To(kHere);
  at(kHere) = To(kLeaving, kDropping, kZero);
  at(kAway) = To(kComing, kPrefetching, kZero);
  at(kComing) = To(kHere, kAway, kZero, kLost);
  at(kPrefetching) = To(kHere, kComing, kAway, kZero, kLost);
  at(kLeaving) = To(kDropping, kCancel, /* recovery: */ kHere, kZero);
  at(kDropping) = To(kAway, kZero, /* punch failed, recovery: */ kHere);
  at(kCancel) = To(kHere, /* recovery: */ kZero);
  at(kLost) = To(kAway, kPoisoned, kZero);
  at(kPoisoned) = To(kAway, kZero);
  for (std::size_t state = 0; state < kPageStates; ++state) {
    moves[state] = static_cast<std::uint16_t>(moves[state] | (1U << state));
  }
  return moves;
}();

[[nodiscard]] constexpr bool IsLegalMove(PageState from, PageState to) {
  return (kLegalMoves[static_cast<std::size_t>(from)] >> static_cast<unsigned>(to) & 1U) != 0;
}

}  // namespace heca::region
