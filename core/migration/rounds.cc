// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/rounds.h"

#include <algorithm>

namespace heca::migration {
namespace {

double Seconds(Nanos span) { return std::chrono::duration<double>(span).count(); }

}  // namespace

Rounds::Rounds(control::MigrationMode mode, Millis downtime_goal) : mode_(mode), goal_(downtime_goal) {}

Nanos Rounds::predicted() const {
  if (count_ == 0) return goal_ + Millis(1);
  if (left_ == 0) return Nanos(0);
  if (copy_rate_ == 0) return goal_ + Millis(1);
  return std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(left_ / copy_rate_));
}

Verdict Rounds::After(const Round& round) {
  if (round.copied.value() > 0 && round.copying > Nanos(0)) {
    copy_rate_ = std::max(copy_rate_, static_cast<double>(round.copied.value()) / Seconds(round.copying));
  }
  const double before = left_;
  left_ = static_cast<double>(round.written.value());
  write_rate_ = round.span > Nanos(0) ? left_ / Seconds(round.span) : 0;
  spent_ += round.span;
  const bool first = count_++ == 0;
  stuck_ = !first && left_ > before * kShrinks ? stuck_ + 1 : 0;
  if (predicted() <= goal_) return Verdict::kChangeOver;
  if (mode_ == control::MigrationMode::kPreCopy) return Verdict::kAgain;
  return stuck_ >= kPatience || spent_ >= kHybridTime ? Verdict::kChangeOver : Verdict::kAgain;
}

}  // namespace heca::migration
