// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/io_wait.h"

#include <utility>

#include "fault/fetcher.h"

namespace heca::fault {

bool IoWait::MayTrust(ArmedAt& armed) {
  if (fetcher_.Stalled(Clock::now())) {
    stalled_ = true;
    return false;
  }
  if (std::exchange(stalled_, false)) {
    ++stalls_;
    after_stall_ = guard_.Mark();
  }
  if (armed.stalls != stalls_) armed = {after_stall_, stalls_};
  return true;
}

}  // namespace heca::fault
