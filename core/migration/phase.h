// SPDX-License-Identifier: LGPL-2.1-or-later
// The phases of a live migration as its source sees them, and what may follow what.
//
//   phase      the VM                    entered when                                   a failure here
//   kPrepare   runs here                 asked for                                      goes on here; nothing to undo but
//                                                                                       the destination's preparation
//   kPreCopy   runs here                 memory is copied ahead                         goes on here
//   kStream    runs here                 the destination is registered and waits        cancelled: goes on here
//   kStopped   stopped here, drained     QEMU says pre-switchover                       cancelled: goes on here
//   kOpened    stopped here              the destination may serve from the image       QEMU decides: failed means that it
//                                                                                       goes on here, completed kArrived
//   kArrived   runs there                QEMU says completed: no way back               waits for the destination, for ever
//   kComplete  runs there, all of it     the destination needs no page from here
//   kAborted   goes on here              a failure before kArrived
//   kLost      is dead                   the destination's QEMU died after kArrived
//
// The image of the VM's memory is readable from kOpened on, and never once the VM may run here again. In kPreCopy it is
// readable too; but what is read of it counts for nothing until the source has told what was written since (copy_ahead.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace heca::migration {

enum class Phase : std::uint8_t {
  kInvalid = 0,
  kPrepare = 1,
  kPreCopy = 2,
  kStream = 3,
  kStopped = 4,
  kOpened = 5,
  kArrived = 6,
  kComplete = 7,
  kAborted = 8,
  kLost = 9,
};
inline constexpr std::size_t kPhases = 10;

/// "prepare", "stream", ...: the words of progress and events.
[[nodiscard]] std::string_view ToString(Phase phase);

/// True if `to` may follow `from`.
[[nodiscard]] bool MayFollow(Phase from, Phase to);

}  // namespace heca::migration
