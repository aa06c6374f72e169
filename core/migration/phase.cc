// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/phase.h"

namespace heca::migration {
namespace {

using enum Phase;

constexpr std::uint16_t To() { return 0; }
template <class... More>
constexpr std::uint16_t To(Phase first, More... more) {
  return static_cast<std::uint16_t>((1U << static_cast<unsigned>(first)) | To(more...));
}

constexpr std::array<std::uint16_t, kPhases> kNext = [] {
  std::array<std::uint16_t, kPhases> next{};
  const auto at = [&next](Phase from) -> std::uint16_t& { return next[static_cast<std::size_t>(from)]; };
  at(kPrepare) = To(kPreCopy, kStream, kAborted);
  at(kPreCopy) = To(kStream, kAborted);
  at(kStream) = To(kStopped, kAborted);
  at(kStopped) = To(kOpened, kAborted);
  at(kOpened) = To(kArrived, kAborted);
  at(kArrived) = To(kComplete, kLost);
  return next;
}();

}  // namespace

std::string_view ToString(Phase phase) {
  switch (phase) {
    case kPrepare: return "prepare";
    case kPreCopy: return "pre-copy";
    case kStream: return "stream";
    case kStopped: return "stopped";
    case kOpened: return "switch-over";
    case kArrived: return "post-copy";
    case kComplete: return "complete";
    case kAborted: return "aborted";
    case kLost: return "lost";
    case kInvalid: break;
  }
  return "invalid";
}

bool MayFollow(Phase from, Phase to) {
  return (kNext[static_cast<std::size_t>(from)] >> static_cast<unsigned>(to) & 1U) != 0;
}

}  // namespace heca::migration
