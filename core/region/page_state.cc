// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/page_state.h"

namespace heca::region {

std::string_view ToString(PageState state) {
  switch (state) {
    case PageState::kZero: return "zero";
    case PageState::kHere: return "here";
    case PageState::kAway: return "away";
    case PageState::kComing: return "coming";
    case PageState::kPrefetching: return "prefetching";
    case PageState::kLeaving: return "leaving";
    case PageState::kDropping: return "dropping";
    case PageState::kCancel: return "cancel";
    case PageState::kLost: return "lost";
    case PageState::kPoisoned: return "poisoned";
  }
  return "invalid";
}

}  // namespace heca::region
