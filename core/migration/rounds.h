// SPDX-License-Identifier: LGPL-2.1-or-later
// When does a VM whose memory is copied ahead change over? After each round the pages that were written during it are
// known; the next round copies them again. Pure: no clock, no thread.
//
//   mode       changes over when                                                  gives up
//   hybrid     what was written in a round can be copied within the downtime      never
//              goal; or rounds do not shrink any more; or its time is up: what
//              is left follows
//   pre-copy   what was written in a round can be copied within the goal; all     never by itself: the operator may say
//              of it is there before the VM runs                                  "now" (the rest follows) or call it off
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "control/migration_types.h"
#include "heca/types.h"

namespace heca::migration {

/// A round that is over.
struct Round {
  Bytes copied;         ///< of pages, in this round
  Nanos copying{0};     ///< for which it took so long
  Bytes written;        ///< pages that were written since the last look, and are to be copied again
  Nanos span{0};        ///< of time since that look
};

enum class Verdict : std::uint8_t { kInvalid = 0, kAgain = 1, kChangeOver = 2 };

class Rounds {
 public:
  Rounds(control::MigrationMode mode, Millis downtime_goal);

  /// Takes a round in, and says what follows.
  Verdict After(const Round& round);

  /// How long copying what was written last would take; as long as nothing is known, the goal and more.
  [[nodiscard]] Nanos predicted() const;
  /// Bytes a second.
  [[nodiscard]] double copy_rate() const { return copy_rate_; }
  [[nodiscard]] double write_rate() const { return write_rate_; }
  [[nodiscard]] std::uint32_t count() const { return count_; }

  /// Of a hybrid migration; so much is spent on copying ahead, at most.
  static constexpr std::chrono::seconds kHybridTime{60};
  /// A round that leaves more than this part of what the one before it left does not get nearer to its end.
  static constexpr double kShrinks = 0.75;
  /// So many such rounds in a row are enough.
  static constexpr std::uint32_t kPatience = 2;

 private:
  const control::MigrationMode mode_;
  const Millis goal_;
  double copy_rate_ = 0;   ///< the best round's: a small one is all latency
  double write_rate_ = 0;
  double left_ = 0;        ///< bytes written in the last round
  Nanos spent_{0};
  std::uint32_t count_ = 0;
  std::uint32_t stuck_ = 0;
};

}  // namespace heca::migration
