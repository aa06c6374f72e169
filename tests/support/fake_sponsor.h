// SPDX-License-Identifier: LGPL-2.1-or-later
// A SponsorApi without memory: it keeps the book of leases right and hands out tokens that open nothing. Any call can
// be made to fail, to wait, or to be counted.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "control/sponsor_api.h"
#include "support/playable.h"

namespace heca::testing {

/// Thread-safe.
class FakeSponsor final : public control::SponsorApi, public Playable {
 public:
  explicit FakeSponsor(std::string node = "m1", Bytes donated = Bytes(1ULL << 30)) {
    info_.node = std::move(node);
    info_.boot_id = "boot-1";
    info_.protocol_version = control::kProtocolVersion;
    info_.oldest_protocol_version = control::kOldestProtocolVersion;
    info_.page_sizes = {kBasePage, kHugePage};
    info_.donated = info_.free = donated;
    info_.endpoints = {{"tcp", "127.0.0.1:7300"}};
  }

  template <class Change>
  void ChangeInfo(const Change& change) {
    const std::lock_guard lock(mutex_);
    change(info_);
  }
  [[nodiscard]] std::optional<control::ReserveRequest> last_reserve() const {
    const std::lock_guard lock(mutex_);
    return last_reserve_;
  }
  [[nodiscard]] std::optional<control::TakeOverRequest> last_take_over() const {
    const std::lock_guard lock(mutex_);
    return last_take_over_;
  }

  Result<control::SponsorInfo> Describe() override {
    std::unique_lock lock(mutex_);
    HECA_RETURN_IF_ERROR(Enter(lock));
    return info_;
  }

  Result<control::Lease> Reserve(const control::ReserveRequest& request) override {
    std::unique_lock lock(mutex_);
    HECA_RETURN_IF_ERROR(Enter(lock));
    last_reserve_ = request;
    control::Lease lease;
    lease.page_size = request.page_size;
    lease.slab_size = Bytes(64 << 20);
    lease.time_to_live = Millis(30'000);
    lease.key.id = LeaseId(++last_id_);
    lease.key.epoch = Epoch(1);
    lease.key.secret.fill(static_cast<std::byte>(last_id_));
    HECA_RETURN_IF_ERROR(Take(lease, request.slots));
    leases_[last_id_] = lease;
    return lease;
  }

  Result<control::Lease> Extend(const control::LeaseKey& key, std::uint32_t more) override {
    std::unique_lock lock(mutex_);
    HECA_ASSIGN_OR_RETURN(control::Lease* const lease, Find(lock, key));
    HECA_RETURN_IF_ERROR(Take(*lease, more));
    return *lease;
  }

  Result<control::Lease> Renew(const control::LeaseKey& key, const std::string& /*owner_boot_id*/) override {
    std::unique_lock lock(mutex_);
    HECA_ASSIGN_OR_RETURN(control::Lease* const lease, Find(lock, key));
    return *lease;
  }

  Result<control::Lease> TakeOver(const control::TakeOverRequest& request) override {
    std::unique_lock lock(mutex_);
    last_take_over_ = request;
    control::LeaseKey key = request.key;
    if (const auto claim = claims_.find(key.id.value()); claim != claims_.end() && claim->second == request.claim) {
      key.epoch = request.to;  // a repeat
    }
    HECA_ASSIGN_OR_RETURN(control::Lease* const lease, Find(lock, key));
    lease->key.epoch = request.to;
    claims_[key.id.value()] = request.claim;
    return *lease;
  }

  Result<control::DataGrant> OpenData(const control::LeaseKey& key, Role role, std::uint32_t stream,
                                      std::uint32_t count) override {
    std::unique_lock lock(mutex_);
    HECA_ASSIGN_OR_RETURN([[maybe_unused]] const control::Lease* const lease, Find(lock, key));
    control::DataGrant grant;
    grant.time_to_live = Millis(10'000);
    grant.endpoints = info_.endpoints;
    for (std::uint32_t i = 0; i < count; ++i) {
      control::Token token{};
      token[0] = static_cast<std::byte>(role);
      token[1] = static_cast<std::byte>(stream + i);
      grant.tokens.push_back(token);
    }
    return grant;
  }

  Status Free(const control::LeaseKey& key) override {
    std::unique_lock lock(mutex_);
    HECA_ASSIGN_OR_RETURN(const control::Lease* const lease, Find(lock, key));
    info_.free = info_.free + lease->slots * lease->page_size.value();
    info_.lent = Bytes(info_.donated - info_.free);
    leases_.erase(key.id.value());
    return Status();
  }

 private:
  Result<control::Lease*> Find(std::unique_lock<std::mutex>& lock, const control::LeaseKey& key) {
    HECA_RETURN_IF_ERROR(Enter(lock));
    const auto found = leases_.find(key.id.value());
    if (found == leases_.end()) return Status(ErrorCode::kNotFound, "no such lease", ErrorScope::kReplica);
    if (found->second.key.secret != key.secret) {
      return Status(ErrorCode::kPermissionDenied, "wrong secret", ErrorScope::kReplica);
    }
    if (found->second.key.epoch != key.epoch) {
      return Status(ErrorCode::kPermissionDenied, "the lease is at another epoch", ErrorScope::kReplica);
    }
    return &found->second;
  }

  Status Take(control::Lease& lease, std::uint32_t slots) {
    const std::uint64_t bytes = slots * lease.page_size.value();
    if (bytes > info_.free.value()) return Status(ErrorCode::kResourceExhausted, "not that much is free");
    lease.slots += slots;
    info_.free = Bytes(info_.free.value() - bytes);
    info_.lent = Bytes(info_.donated - info_.free);
    return Status();
  }

  control::SponsorInfo info_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, control::Lease> leases_;
  std::map<std::uint64_t, control::Secret> claims_;
  std::optional<control::ReserveRequest> last_reserve_;
  std::optional<control::TakeOverRequest> last_take_over_;
};

}  // namespace heca::testing
