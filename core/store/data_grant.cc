// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/data_grant.h"

#include <fmt/format.h>

#include <utility>

namespace heca::store {

Status CheckStreams(Role role, std::uint32_t count) {
  if (count != 0 && count <= control::kMaxTokens && (role == Role::kUrgent || role == Role::kBulk)) return {};
  return {ErrorCode::kInvalidArgument, fmt::format("{} tokens for role {} were asked for; 1 to {}, urgent or bulk", count,
                                                   static_cast<int>(role), control::kMaxTokens)};
}

Result<control::DataGrant> GrantData(TokenBook& tokens, ViewBoard& views, const control::LeaseKey& key, StreamName first,
                                     std::uint32_t count, const GrantTimes& times, Clock::time_point now) {
  control::DataGrant grant;
  grant.time_to_live = times.token_life;
  const auto deadline = Deadline::After(times.fence_wait);
  for (std::uint32_t i = 0; i < count; ++i) {
    const StreamName name{first.role, first.stream + i};
    HECA_RETURN_IF_ERROR(views.End(name, deadline));
    HECA_ASSIGN_OR_RETURN(auto token, tokens.Issue({key.id, key.epoch, name, now + times.token_life}, now));
    grant.tokens.push_back(token);
  }
  return grant;
}

}  // namespace heca::store
