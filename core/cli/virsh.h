// SPDX-License-Identifier: LGPL-2.1-or-later
// libvirt by its own command line. Its library is no part of hecactl: it brings 55 more libraries, and doubles the 22 ms of
// every call, also on hosts that only lend memory and have no libvirt. virsh is there wherever libvirtd is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/child.h"
#include "cli/libvirt.h"

namespace heca::cli {

/// One thread at a time.
class Virsh final : public Libvirt {
 public:
  /// `connect`: URI of the local libvirt.
  explicit Virsh(std::string connect) : connect_(std::move(connect)) {}

  Result<std::string> Xml(const std::string& domain) override;
  Result<std::string> State(const std::string& domain) override;
  Result<bool> IsPersistent(const std::string& uuid) override;
  Status Migrate(const LibvirtMigration& migration) override;
  std::optional<Status> Migrated(Millis span) override;
  Status Abort(const std::string& domain) override;

 private:
  [[nodiscard]] Result<Child> Start(const std::vector<std::string>& words) const;
  /// What it prints; an error of virsh becomes one with `code`.
  [[nodiscard]] Result<std::string> Ask(const std::vector<std::string>& words, ErrorCode code) const;

  const std::string connect_;
  std::optional<Child> migration_;
};

}  // namespace heca::cli
