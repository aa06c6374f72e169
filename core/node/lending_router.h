// SPDX-License-Identifier: LGPL-2.1-or-later
// One SponsorApi and one Admission for all that this node lends: slabs, and images of VMs that leave. The lease's id tells
// which.
#pragma once

#include <memory>
#include <string>

#include "control/sponsor_api.h"
#include "store/image_sponsor.h"
#include "store/sponsor.h"
#include "transport/server.h"

namespace heca::node {

/// Thread-safe. Both sponsors outlive it.
class LendingRouter final : public control::SponsorApi, public transport::Admission {
 public:
  LendingRouter(store::Sponsor& slabs, store::ImageSponsor& images) : slabs_(slabs), images_(images) {}

  Result<control::SponsorInfo> Describe() override { return slabs_.Describe(); }
  Result<control::Lease> Reserve(const control::ReserveRequest& request) override { return slabs_.Reserve(request); }
  Result<control::Lease> Extend(const control::LeaseKey& key, std::uint32_t more) override {
    return Of(key.id).Extend(key, more);
  }
  Result<control::Lease> Renew(const control::LeaseKey& key, const std::string& owner_boot_id) override {
    return Of(key.id).Renew(key, owner_boot_id);
  }
  Result<control::Lease> TakeOver(const control::TakeOverRequest& request) override {
    return Of(request.key.id).TakeOver(request);
  }
  Result<control::DataGrant> OpenData(const control::LeaseKey& key, Role role, std::uint32_t stream,
                                      std::uint32_t count) override {
    return Of(key.id).OpenData(key, role, stream, count);
  }
  Status Free(const control::LeaseKey& key) override { return Of(key.id).Free(key); }

  Result<std::shared_ptr<transport::SlotMemory>> Admit(const transport::Hello& hello) override {
    return store::IsImage(hello.lease) ? images_.Admit(hello) : slabs_.Admit(hello);
  }

 private:
  [[nodiscard]] control::SponsorApi& Of(LeaseId id) {
    if (store::IsImage(id)) return images_;
    return slabs_;
  }

  store::Sponsor& slabs_;
  store::ImageSponsor& images_;
};

}  // namespace heca::node
