// SPDX-License-Identifier: LGPL-2.1-or-later
// Tokens for the data connections of one lease: what OpenData gives, whatever kind of memory is lent.
#pragma once

#include "base/clock.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "store/lease_view.h"
#include "store/token_book.h"

namespace heca::store {

/// How long tokens live, and how long a former connection may take to end.
struct GrantTimes {
  Millis token_life{30'000};
  Millis fence_wait{500};
};

/// Ends the former connections of the streams `stream` .. `stream` + `count` - 1 and issues a token for each; the answer
/// has no endpoints yet. kBusy: a former connection has not ended within `fence_wait`. The caller has checked the key.
[[nodiscard]] Result<control::DataGrant> GrantData(TokenBook& tokens, ViewBoard& views, const control::LeaseKey& key,
                                                   StreamName first, std::uint32_t count, const GrantTimes& times,
                                                   Clock::time_point now);
/// Of a request that came from a peer.
[[nodiscard]] Status CheckStreams(Role role, std::uint32_t count);

}  // namespace heca::store
