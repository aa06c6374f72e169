// SPDX-License-Identifier: LGPL-2.1-or-later
// One-time admissions: which tokens are out, and for what. In memory only: a sponsor that restarts has admitted nobody.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

#include "base/clock.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "heca/types.h"
#include "store/lease_view.h"
#include "transport/channel.h"

namespace heca::store {

/// Thread-safe.
class TokenBook {
 public:
  struct Admission {
    LeaseId lease;
    Epoch epoch;
    StreamName name;
    Clock::time_point until;
  };
  /// Of one lease: an owner that asks and never dials cannot make the book grow.
  static constexpr std::size_t kMaxPerLease = 4 * control::kMaxTokens;

  /// Replaces an unused token for the same stream. kResourceExhausted when the lease has too many out.
  Result<transport::Token> Issue(const Admission& admission, Clock::time_point now);
  /// Takes the token out of the book, whether or not the rest of the hello fits it. kPermissionDenied if it is
  /// unknown, used, too old, or for something else.
  Result<Admission> Redeem(const transport::Hello& hello, Clock::time_point now);
  void Forget(LeaseId lease);

 private:
  std::mutex mutex_;
  std::map<transport::Token, Admission> out_;
};

}  // namespace heca::store
