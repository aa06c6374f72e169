// SPDX-License-Identifier: LGPL-2.1-or-later
// NodeApi's values <-> messages. Private to this room. Requests are checked on their way in; answers come from the
// hecad of this host and are taken as they are (an enumerator that this build does not know becomes kInvalid).
#pragma once

#include "base/transport_choice.h"
#include "control/node_types.h"
#include "control/region_stats.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "heca/v1/node.pb.h"
#include "heca/v1/region_stats.pb.h"

namespace heca::control {

void ToMessage(const AttachSpec& from, v1::AttachRequest& to);
[[nodiscard]] Result<AttachSpec> FromMessage(const v1::AttachRequest& from);
/// Refuses what a message cannot say: two targets, or a limit and a ratio.
[[nodiscard]] Status CheckSpec(const AttachSpec& spec);

/// Leaves `to` as it is where the message makes no choice.
[[nodiscard]] Status TakeTransport(v1::TransportChoice from, TransportChoice& to);

void ToMessage(const Progress& from, v1::Progress& to);
void ToMessage(const RegionInfo& from, v1::RegionInfo& to);
void ToMessage(const RegionStats& from, v1::RegionStats& to);
void ToMessage(const ConnectionInfo& from, v1::Connection& to);
void ToMessage(const NodeInfo& from, v1::NodeInfo& to);
void ToMessage(const PeerInfo& from, v1::PeerInfo& to);
void ToMessage(const DoctorCheck& from, v1::DoctorCheck& to);
void ToMessage(const Event& from, v1::Event& to);
void ToMessage(const LeaseInfo& from, v1::LeaseInfo& to);

[[nodiscard]] Progress FromMessage(const v1::Progress& from);
[[nodiscard]] RegionInfo FromMessage(const v1::RegionInfo& from);
[[nodiscard]] RegionStats FromMessage(const v1::RegionStats& from);
[[nodiscard]] ConnectionInfo FromMessage(const v1::Connection& from);
[[nodiscard]] NodeInfo FromMessage(const v1::NodeInfo& from);
[[nodiscard]] PeerInfo FromMessage(const v1::PeerInfo& from);
[[nodiscard]] DoctorCheck FromMessage(const v1::DoctorCheck& from);
[[nodiscard]] Event FromMessage(const v1::Event& from);
[[nodiscard]] LeaseInfo FromMessage(const v1::LeaseInfo& from);

}  // namespace heca::control
