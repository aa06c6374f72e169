// SPDX-License-Identifier: LGPL-2.1-or-later
// What hecactl asks of the libvirt of this host.
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "heca/status.h"

namespace heca::cli {

/// As `virsh migrate --live --p2p` takes it; never with --postcopy, which is QEMU's own.
struct LibvirtMigration {
  std::string domain;
  std::string uri;               ///< of the destination's libvirt, as this one reaches it
  bool persistent = false;       ///< it is defined there
  bool undefine_source = false;  ///< and no more here
};

/// One thread at a time. `domain`: name, UUID or number. Errors carry libvirt's own words; kUnsupported: there is no libvirt
/// to ask.
class Libvirt {
 public:
  virtual ~Libvirt() = default;
  /// Of the domain as it runs. kNotFound: there is none.
  virtual Result<std::string> Xml(const std::string& domain) = 0;
  /// "running", "paused", "shut off" and so on.
  virtual Result<std::string> State(const std::string& domain) = 0;
  /// It is defined here, not only running.
  virtual Result<bool> IsPersistent(const std::string& uuid) = 0;
  /// Begins it. It goes on whatever becomes of this object.
  virtual Status Migrate(const LibvirtMigration& migration) = 0;
  /// What came of it, or none if it is not over after `span`.
  virtual std::optional<Status> Migrated(Millis span) = 0;
  /// Calls it off; whether it listens, Migrated tells.
  virtual Status Abort(const std::string& domain) = 0;
};

}  // namespace heca::cli
