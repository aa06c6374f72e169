// SPDX-License-Identifier: LGPL-2.1-or-later
// Enumerations <-> messages: both sides use the same numbers. Private to this room.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "control/node_types.h"

namespace heca::control {

/// The enumerator with this number, or kInvalid if it is beyond `last`, the last one that this build knows.
template <class Enum>
[[nodiscard]] Enum EnumFrom(int number, Enum last) {
  return number < 0 || number > static_cast<int>(last) ? Enum::kInvalid : static_cast<Enum>(number);
}

template <class Message, class Enum>
[[nodiscard]] Message EnumTo(Enum value) {
  return static_cast<Message>(static_cast<int>(value));
}

template <class Span>
[[nodiscard]] std::uint64_t CountOf(Span span) {
  return span.count() < 0 ? 0 : static_cast<std::uint64_t>(span.count());
}
[[nodiscard]] inline Nanos NanosFrom(std::uint64_t count) { return Nanos(static_cast<Nanos::rep>(count)); }
[[nodiscard]] inline Millis MillisFrom(std::uint64_t count) { return Millis(static_cast<Millis::rep>(count)); }

[[nodiscard]] inline std::int64_t MicrosOf(WallTime time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}
[[nodiscard]] inline WallTime WallTimeFrom(std::int64_t micros) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::microseconds(micros)));
}

}  // namespace heca::control
