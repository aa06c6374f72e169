// SPDX-License-Identifier: LGPL-2.1-or-later
// What libvirt's hook tells, and what follows from it. A domain that starts gets the part of memory that its metadata ask
// for. One that waits for a VM is welcomed: the hecad that has the VM is found among the peers, and both sides prepare
// while libvirt waits for the hook; if any part of that fails, the migration fails before the source has begun.
#include <memory>
#include <string>
#include <utility>

#include "base/log.h"
#include "control/migration_client.h"
#include "domain/metadata.h"
#include "guest/lookup.h"
#include "node/leaver.h"
#include "node/node_impl.h"

namespace heca::node {
namespace {

constexpr std::chrono::seconds kQemuPatience{5};
/// From libvirt's `migrate` to its `started`.
constexpr std::chrono::minutes kExpected{2};

/// libvirt is not told how far it is.
class NobodyAsks final : public control::ProgressSink {
 public:
  void OnProgress(const control::Progress&) override {}
  [[nodiscard]] bool Cancelled() const override { return false; }
};

/// The connection ends with the call: QEMU serves one client a socket.
Result<std::string> RunStateOf(const guest::GuestIdentity& identity) {
  if (identity.qmp_path.empty()) {
    return Status(ErrorCode::kFailedPrecondition,
                  "domain '" + identity.name + "' asks for heca and has no QMP socket for it: run its XML through `hecactl xml`");
  }
  HECA_ASSIGN_OR_RETURN(std::shared_ptr<guest::Qmp> qmp,
                        guest::Qmp::Connect(identity.qmp_path, Deadline::After(kQemuPatience)));
  return guest::MigratingVm(std::move(qmp)).RunState(Deadline::After(kQemuPatience));
}

control::MigrationMode ModeOf(domain::MigrationMode mode) {
  switch (mode) {
    case domain::MigrationMode::kHybrid: return control::MigrationMode::kHybrid;
    case domain::MigrationMode::kPreCopy: return control::MigrationMode::kPreCopy;
    case domain::MigrationMode::kPostCopy:
    case domain::MigrationMode::kInvalid: break;
  }
  return control::MigrationMode::kPostCopy;
}

}  // namespace

Status Node::OnDomain(const control::DomainEvent& event) {
  if ((event.operation != "started" && event.operation != "migrate") || !domain::MentionsHeca(event.xml)) return Status();
  HECA_ASSIGN_OR_RETURN(const domain::HecaMemory memory, domain::ReadMetadata(event.xml));
  if (!impl_->config.compute) {
    return Status(ErrorCode::kFailedPrecondition, "domain '" + event.domain + "' asks for heca, and this hecad only lends "
                                                  "memory; set compute = true");
  }
  if (event.operation == "migrate") {
    impl_->Expect(event.domain);
    return Status();
  }
  HECA_ASSIGN_OR_RETURN(const guest::GuestIdentity identity, guest::LookupDomain(event.domain));
  HECA_ASSIGN_OR_RETURN(const std::string state, RunStateOf(identity));
  if (state == "inmigrate") {
    // A restore from a file waits in the same way, and brings its memory with it.
    return impl_->IsExpected(event.domain) ? impl_->Welcome(event, memory) : Status();
  }
  if (!memory.wish.ratio && !memory.wish.local) return Status();  // only its migrations are heca's
  control::AttachSpec spec;
  spec.domain = event.domain;
  spec.local_limit = memory.wish.local;
  spec.ratio = memory.wish.ratio;
  spec.transport = memory.wish.transport.value_or(TransportChoice::kAuto);
  NobodyAsks nobody;
  return Attach(spec, nobody).status();
}

void Node::Impl::Expect(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  std::erase_if(expected_, [](const auto& one) { return Clock::now() - one.second > kExpected; });
  expected_[domain] = Clock::now();
}

bool Node::Impl::IsExpected(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  const auto found = expected_.find(domain);
  const bool expected = found != expected_.end() && Clock::now() - found->second <= kExpected;
  if (found != expected_.end()) expected_.erase(found);
  return expected;
}

Status Node::Impl::Welcome(const control::DomainEvent& event, const domain::HecaMemory& memory) {
  control::DepartRequest request{event.domain, memory.uuid, config.name, config.control_listen};
  if (memory.wish.migration) request.mode = ModeOf(*memory.wish.migration);
  std::string refusals;
  for (const auto& peer : sponsors->Peers()) {
    HECA_ASSIGN_OR_RETURN(const auto source, control::MigrationClient::Create({.endpoint = peer.endpoint}));
    const auto departing = source->Depart(request);
    if (!departing.ok()) {
      refusals.append(refusals.empty() ? "" : "; ").append(peer.name).append(": ").append(departing.status().message());
      continue;
    }
    control::PrepareRequest prepare;
    prepare.region = event.domain;
    prepare.source_node = peer.name;
    prepare.source_address = peer.endpoint;
    prepare.image = departing->image;
    prepare.blocks = departing->blocks;
    prepare.domain = event.domain;
    prepare.governed = departing->governed;
    const Status prepared = arrivals.Prepare(prepare);
    if (!prepared.ok()) {
      const Status told = source->Abort(prepare.region, prepare.image.key, std::string(prepared.message()));
      if (!told.ok()) Log().warn("{}: the source could not be told: {}", event.domain, told.ToString());
    }
    return prepared;
  }
  return {ErrorCode::kFailedPrecondition, "no peer of this hecad lets '" + event.domain + "' go: " +
                                              (refusals.empty() ? "it has none; add [[peer]] to hecad.toml" : refusals)};
}

Result<Leaver> Node::Impl::Leave(const control::DepartRequest& request) {
  control::AttachSpec named;
  named.domain = request.domain;
  HECA_ASSIGN_OR_RETURN(const AttachTarget target, FindTarget(named));
  if (target.identity.uuid != request.uuid) {
    return Status(ErrorCode::kNotFound, "another domain is called '" + request.domain + "' here", ErrorScope::kRegion);
  }
  return MakeLeaverOf(target, "");
}

Result<Leaver> Node::Impl::MakeLeaverOf(const AttachTarget& target, const std::string& qmp_socket) {
  std::shared_ptr<Session> governs;
  for (auto& session : All()) {
    if (session->pid() == target.identity.process.pid && !session->ended()) governs = std::move(session);
  }
  return MakeLeaver(target, qmp_socket, abilities, config.io_grace, std::move(governs));
}

void Node::Impl::EndLeave(const RegionId& region, Whereabouts where) {
  const auto session = Find(region);
  if (!session.ok()) return;
  if (where == Whereabouts::kStays) {
    (*session)->Stay();
  } else if (const Status left = (*session)->Left(); !left.ok()) {
    Log().error("{}: has left, and is still in the journal: {}", region, left.ToString());
  }
}

std::shared_ptr<guest::Qmp> Node::Impl::MonitorOf(const RegionId& region) {
  const auto session = Find(region);
  return session.ok() ? (*session)->Monitor() : nullptr;
}

}  // namespace heca::node
