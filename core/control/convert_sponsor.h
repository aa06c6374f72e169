// SPDX-License-Identifier: LGPL-2.1-or-later
// SponsorApi's values <-> messages. Private to this room. What comes from a peer is checked here, so that no
// implementation of SponsorApi sees a value outside its contract.
#pragma once

#include "control/sponsor_api.h"
#include "heca/status.h"
#include "heca/v1/sponsor.pb.h"

namespace heca::control {

void ToMessage(const SponsorInfo& from, v1::SponsorInfo& to);
void ToMessage(const ReserveRequest& from, v1::ReserveRequest& to);
void ToMessage(const LeaseKey& from, v1::LeaseKey& to);
void ToMessage(const Lease& from, v1::Lease& to);
void ToMessage(const TakeOverRequest& from, v1::TakeOverRequest& to);
void ToMessage(const DataGrant& from, v1::DataGrant& to);

[[nodiscard]] Result<SponsorInfo> FromMessage(const v1::SponsorInfo& from);
[[nodiscard]] Result<ReserveRequest> FromMessage(const v1::ReserveRequest& from);
[[nodiscard]] Result<LeaseKey> FromMessage(const v1::LeaseKey& from);
[[nodiscard]] Result<Lease> FromMessage(const v1::Lease& from);
[[nodiscard]] Result<TakeOverRequest> FromMessage(const v1::TakeOverRequest& from);
[[nodiscard]] Result<DataGrant> FromMessage(const v1::DataGrant& from);

}  // namespace heca::control
