// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/token_book.h"

#include <algorithm>

#include "store/random.h"

namespace heca::store {

Result<transport::Token> TokenBook::Issue(const Admission& admission, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(out_, [&](const auto& item) {
    const Admission& other = item.second;
    return other.until <= now || (other.lease == admission.lease && other.name == admission.name);
  });
  const auto of_lease = std::count_if(out_.begin(), out_.end(), [&](const auto& item) {
    return item.second.lease == admission.lease;
  });
  if (static_cast<std::size_t>(of_lease) >= kMaxPerLease) {
    return Status(ErrorCode::kResourceExhausted,
                  std::to_string(of_lease) + " tokens of this lease are unused; dial with them or let them expire",
                  ErrorScope::kConnection);
  }
  const transport::Token token = RandomSecret();
  out_.emplace(token, admission);
  return token;
}

Result<TokenBook::Admission> TokenBook::Redeem(const transport::Hello& hello, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = out_.find(hello.token);
  if (found == out_.end()) {
    return Status(ErrorCode::kPermissionDenied, "unknown or used token", ErrorScope::kConnection);
  }
  const Admission admission = found->second;
  out_.erase(found);
  if (admission.until <= now) {
    return Status(ErrorCode::kPermissionDenied, "the token is too old", ErrorScope::kConnection);
  }
  if (admission.lease != hello.lease || admission.epoch != hello.epoch || admission.name.role != hello.role) {
    return Status(ErrorCode::kPermissionDenied, "the token is for another lease, epoch or role",
                  ErrorScope::kConnection);
  }
  return admission;
}

void TokenBook::Forget(LeaseId lease) {
  const std::lock_guard lock(mutex_);
  std::erase_if(out_, [&](const auto& item) { return item.second.lease == lease; });
}

}  // namespace heca::store
