// SPDX-License-Identifier: LGPL-2.1-or-later
// SponsorApi of another node, over TCP. Connects at the first call, and again after a loss, within about a second of
// the peer being back.
#pragma once

#include <memory>
#include <string>

#include "control/sponsor_api.h"

namespace heca::control {

struct SponsorClientOptions {
  std::string endpoint;        ///< "10.1.0.3:7301", "[fd00::3]:7301", "m1.example:7301"
  Millis call_timeout{3'000};  ///< of every call but those that make the sponsor allocate memory:
  /// Reserve and Extend. A tmpfs takes about a second for 4 GiB; a host that died is noticed by the keepalive, in 8 s.
  Millis grow_timeout{120'000};
};

/// Thread-safe. No call is repeated here: the caller knows which ones may be (Status::retryable says when).
class SponsorClient final : public SponsorApi {
 public:
  /// Does not connect. kInvalidArgument: the endpoint is not HOST:PORT.
  static Result<std::unique_ptr<SponsorClient>> Create(const SponsorClientOptions& options);
  ~SponsorClient() override;

  [[nodiscard]] Result<SponsorInfo> Describe() override;
  [[nodiscard]] Result<Lease> Reserve(const ReserveRequest& request) override;
  [[nodiscard]] Result<Lease> Extend(const LeaseKey& key, std::uint32_t more) override;
  [[nodiscard]] Result<Lease> Renew(const LeaseKey& key, const std::string& owner_boot_id) override;
  [[nodiscard]] Result<Lease> TakeOver(const TakeOverRequest& request) override;
  [[nodiscard]] Result<DataGrant> OpenData(const LeaseKey& key, Role role, std::uint32_t stream,
                                           std::uint32_t count) override;
  [[nodiscard]] Status Free(const LeaseKey& key) override;

 private:
  class Impl;
  explicit SponsorClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heca::control
