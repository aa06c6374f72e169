// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/sponsors.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cluster/choose_sponsors.h"
#include "control/sponsor_client.h"
#include "transport/rdma/devices.h"

namespace heca::node {
namespace {

control::PeerHealth HealthOf(const cluster::Member& member) {
  switch (member.health) {
    case cluster::Health::kAlive: return member.reboots > 0 ? control::PeerHealth::kRestarted : control::PeerHealth::kAlive;
    case cluster::Health::kUnreachable:
    case cluster::Health::kMisnamed: return control::PeerHealth::kUnreachable;
    default: return control::PeerHealth::kUnknown;
  }
}

}  // namespace

Result<std::unique_ptr<control::SponsorApi>> Sponsors::Client(const std::string& address) {
  control::SponsorClientOptions options;
  options.endpoint = address;
  HECA_ASSIGN_OR_RETURN(auto client, control::SponsorClient::Create(options));
  return std::unique_ptr<control::SponsorApi>(std::move(client));
}

Result<std::unique_ptr<Sponsors>> Sponsors::Create(const NodeConfig& config, cluster::OnChange on_change) {
  std::unique_ptr<Sponsors> sponsors(new Sponsors(config));
  std::vector<cluster::PeerConfig> peers;
  for (const auto& peer : config.peers) peers.push_back({peer.name, peer.address, peer.failure_domain});
  HECA_ASSIGN_OR_RETURN(sponsors->members_, cluster::StaticMembers::Create(
                                                std::move(peers), [](const auto& peer) { return Client(peer.endpoint); },
                                                std::move(on_change), {}));
  return sponsors;
}

Status Sponsors::Check(TransportChoice own) const {
  if (MayTravel(own, TransportChoice::kTcp)) return Status();
  if (!MayTravel(own, TransportChoice::kRdma)) {
    return {ErrorCode::kFailedPrecondition,
            fmt::format("transport {} was asked for, and this hecad's is {}: leave it out, or set transport = \"auto\" in "
                        "hecad.toml and restart hecad",
                        ToString(own), ToString(transport_))};
  }
  const auto devices = transport::RdmaDevices();
  if (devices.ok() && !devices->empty()) return Status();
  return {ErrorCode::kFailedPrecondition,
          fmt::format("only RDMA is allowed, by --transport or by hecad.toml, and {}: say transport auto or tcp",
                      devices.ok() ? "this host has no RDMA device (hecactl doctor shows them)" : devices.status().message())};
}

std::vector<store::NamedDialer> Sponsors::dialers(TransportChoice own) {
  std::vector<store::NamedDialer> all;
  if (MayTravel(own, TransportChoice::kRdma)) all.push_back({"rdma", &rdma_});
  if (MayTravel(own, TransportChoice::kTcp)) all.push_back({"tcp", &tcp_});
  return all;
}

Status Sponsors::CheckOffers(control::SponsorApi& client, TransportChoice own) const {
  const TransportChoice forced = own == TransportChoice::kAuto ? transport_ : own;
  if (forced == TransportChoice::kAuto) return Status();
  HECA_ASSIGN_OR_RETURN(const control::SponsorInfo about, client.Describe());
  std::vector<std::string> offered;
  for (const auto& endpoint : about.endpoints) {
    if (endpoint.transport == ToString(forced)) return Status();
    offered.push_back(endpoint.transport);
  }
  return {ErrorCode::kFailedPrecondition, fmt::format("lends over {} and not over {}",
                                                      offered.empty() ? "nothing" : fmt::format("{}", fmt::join(offered, ", ")),
                                                      ToString(forced))};
}

std::vector<cluster::Member> Sponsors::Order(const control::ReserveRequest& request, std::string& passed_over) {
  (void)members_->WaitForFirstRound(Deadline::After(std::chrono::seconds(1)));
  std::vector<cluster::Member> left = members_->List();
  std::vector<cluster::Member> order;
  cluster::SponsorWish wish;
  wish.needed = Bytes(static_cast<std::uint64_t>(request.slots) * request.page_size.value());
  wish.page_size = request.page_size;
  wish.own_domain = own_domain_;
  const std::lock_guard lock(random_mutex_);
  for (;;) {  // the news of free memory may be old: the next choice stands by
    auto chosen = cluster::ChooseSponsors(left, wish, random_);
    if (!chosen.ok()) {
      if (order.empty()) passed_over = chosen.status().message();
      return order;
    }
    const std::string& name = chosen->front().config.name;
    std::erase_if(left, [&](const cluster::Member& member) { return member.config.name == name; });
    order.push_back(chosen->front());
  }
}

Result<cluster::PeerConfig> Sponsors::Resolve(const std::string& name) const {
  if (const auto member = members_->Find(name)) return member->config;
  if (name.find(':') != std::string::npos) return cluster::PeerConfig{name, name, ""};
  return Status(ErrorCode::kNotFound, "no peer is called '" + name + "'; `hecactl nodes` lists them, or give HOST:PORT");
}

Result<BorrowedLease> Sponsors::Borrow(const std::vector<std::string>& wanted,
                                       const control::ReserveRequest& request, TransportChoice own) {
  std::string refusals;
  std::vector<cluster::PeerConfig> tries;
  for (const auto& name : wanted) {
    HECA_ASSIGN_OR_RETURN(auto peer, Resolve(name));
    tries.push_back(std::move(peer));
  }
  if (wanted.empty()) {
    for (const auto& member : Order(request, refusals)) tries.push_back(member.config);
  }
  ErrorCode code = ErrorCode::kResourceExhausted;
  for (const auto& peer : tries) {
    HECA_ASSIGN_OR_RETURN(const auto client, Client(peer.endpoint));
    Status refusal = CheckOffers(*client, own);
    if (refusal.ok()) {
      auto lease = client->Reserve(request);
      if (lease.ok()) return BorrowedLease{peer.name, peer.endpoint, std::move(*lease)};
      refusal = lease.status();
    }
    code = refusal.code();
    refusals.append(refusals.empty() ? "" : "; ").append(peer.name).append(": ").append(refusal.message());
  }
  return Status(code, "no sponsor lends what region '" + request.region + "' needs: " +
                          (refusals.empty() ? "there are no peers; add [[peer]] to hecad.toml" : refusals));
}

std::vector<control::PeerInfo> Sponsors::Peers() const {
  std::vector<control::PeerInfo> peers;
  for (const auto& member : members_->List()) {
    control::PeerInfo peer;
    peer.name = member.config.name;
    peer.endpoint = member.config.endpoint;
    peer.failure_domain = member.config.failure_domain;
    peer.health = HealthOf(member);
    peer.boot_id = member.info.boot_id;
    peer.donated = member.info.donated;
    peer.free = member.info.free;
    peer.rtt = member.rtt;
    for (const auto& endpoint : member.info.endpoints) peer.transports.push_back(endpoint.transport);
    peer.trouble = member.trouble;
    peers.push_back(std::move(peer));
  }
  return peers;
}

}  // namespace heca::node
