// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/quota.h"

#include <string>
#include <utility>

#include "base/size.h"

namespace heca::store {

Result<QuotaCharge> Quota::Take(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  if (taken_ > donated_.value() || bytes.value() > donated_.value() - taken_) {
    const std::uint64_t left = taken_ < donated_.value() ? donated_.value() - taken_ : 0;
    return Status(ErrorCode::kResourceExhausted,
                  "asked for " + FormatSizeExact(bytes) + ", free are " + FormatSizeExact(Bytes(left)) + " of " +
                      FormatSizeExact(donated_) + " donated; take another sponsor or donate more",
                  ErrorScope::kNode);
  }
  taken_ += bytes.value();
  return QuotaCharge(shared_from_this(), bytes);
}

QuotaCharge Quota::TakeAnyway(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  taken_ += bytes.value();
  return QuotaCharge(shared_from_this(), bytes);
}

Bytes Quota::Taken() const {
  const std::lock_guard lock(mutex_);
  return Bytes(taken_);
}

void Quota::Give(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  taken_ -= bytes.value();
}

QuotaCharge::QuotaCharge(std::shared_ptr<Quota> quota, Bytes bytes) : quota_(std::move(quota)), bytes_(bytes) {}

QuotaCharge::QuotaCharge(QuotaCharge&& other) noexcept
    : quota_(std::move(other.quota_)), bytes_(std::exchange(other.bytes_, Bytes(0))) {}

QuotaCharge::~QuotaCharge() {
  if (quota_) quota_->Give(bytes_);
}

}  // namespace heca::store
