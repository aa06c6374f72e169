// SPDX-License-Identifier: LGPL-2.1-or-later
// `hecactl migrate DOMAIN DEST`: libvirt leads, as with `virsh migrate --live --p2p`, its hook has hecad move the memory, and
// this follows both until libvirt is done and nothing of the VM is left here.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/libvirt.h"
#include "control/node_api.h"
#include "domain/metadata.h"
#include "heca/status.h"

namespace heca::cli {

struct DomainMove {
  std::string domain;       ///< name, UUID or number
  std::string destination;  ///< peer, host, or libvirt URI
  std::string uri;          ///< of the destination's libvirt; empty: from `destination`
  /// None: as it is here; a domain that is defined here is defined there, and no more here.
  std::optional<bool> persistent;
  std::optional<bool> undefine_source;
  control::SteerSpec order;  ///< what is to be otherwise than the metadata say; its region is filled in
};

/// "qemu+tcp://HOST/system" where that libvirt listens without TLS.
[[nodiscard]] std::string UriOfHost(const std::string& host);

/// One migration; one thread.
class DomainMigration {
 public:
  DomainMigration(DomainMove move, control::NodeApi& api, Libvirt& libvirt)
      : move_(std::move(move)), api_(api), libvirt_(libvirt) {}

  /// Refuses, before anything is touched, what cannot be a migration of heca's, with the remedy. kInternal: libvirt's own
  /// error. kAborted: Cancelled(); the text says whether the VM goes on here or has left.
  Result<control::MigrationSummary> Run(control::ProgressSink& progress);
  /// Of the destination's libvirt, once Run has found it out.
  [[nodiscard]] const std::string& uri() const { return move_.uri; }

 private:
  Status CheckDomain();
  Status CheckNodes();
  Status CheckPeer(const std::vector<control::PeerInfo>& nodes);
  Status Begin();
  Result<control::MigrationSummary> Follow(control::ProgressSink& progress);
  /// Asks hecad how far it is.
  void Look();
  void Tell(control::ProgressSink& progress, bool libvirt_is_done) const;
  [[nodiscard]] bool HasLeft() const;
  [[nodiscard]] Result<control::MigrationSummary> Done() const;
  [[nodiscard]] Status Failed(const Status& libvirt, bool called_off);

  DomainMove move_;
  control::NodeApi& api_;
  Libvirt& libvirt_;
  domain::HecaMemory memory_;
  std::set<LeaseId> before_;  ///< departures from before this one
  std::optional<control::MigrationInfo> seen_;
  bool answered_ = false;  ///< hecad, the last time
  bool known_ = false;     ///< and it knew the departure
};

}  // namespace heca::cli
