// SPDX-License-Identifier: LGPL-2.1-or-later
// When may pages be copied that were write-protected? When no device can write them any more that had pinned them before:
// the I/O guard says so of a moment.
//
// Its last resort is a grace time, and a direct read may be in flight for as long as we let it wait: it has pinned some of
// its pages and faults on another one, which is away. So nothing is copied while a demand stalls, and what was armed by
// then is marked anew when the demand is through.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "heca/io_guard.h"

namespace heca::fault {

class Fetcher;

/// A moment at which pages were armed.
struct ArmedAt {
  IoMark mark;
  std::uint32_t stalls = 0;  ///< how many stalls had ended by then
};

/// Owner loop only.
class IoWait {
 public:
  IoWait(IoGuard& guard, const Fetcher& fetcher) : guard_(guard), fetcher_(fetcher) {}

  [[nodiscard]] ArmedAt Now() { return {guard_.Mark(), stalls_}; }
  /// False while a demand stalls. What was armed before the end of a stall is marked anew.
  [[nodiscard]] bool MayTrust(ArmedAt& armed);
  [[nodiscard]] bool Over(ArmedAt& armed) { return MayTrust(armed) && guard_.Drained(armed.mark); }

 private:
  IoGuard& guard_;
  const Fetcher& fetcher_;
  bool stalled_ = false;      ///< a demand was not answered for long, at the last look
  std::uint32_t stalls_ = 0;  ///< how many such times have ended
  IoMark after_stall_;        ///< the moment when the last of them had ended
};

}  // namespace heca::fault
