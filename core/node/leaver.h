// SPDX-License-Identifier: LGPL-2.1-or-later
// A VM of this node that is about to leave it: what of it is lent and journaled.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/migration_types.h"
#include "guest/migrating_vm.h"
#include "heca/status.h"
#include "node/departure_record.h"
#include "node/host.h"
#include "node/leaving_region.h"
#include "node/write_notes.h"
#include "os/probe_uffd.h"
#include "store/ram_image.h"

namespace heca::node {

struct Leaver {
  DepartureRecord record;  ///< without the image's lease
  std::shared_ptr<guest::MigratingVm> vm;
  std::vector<control::RamBlock> blocks;
  std::vector<store::ImageBlock> image;
  std::shared_ptr<guest::Qmp> monitor;
  std::vector<guest::AddressRange> ram;
  WriteNotes notes;
  std::unique_ptr<LeavingRegion> region;  ///< null: its memory is not governed
};

/// `session` governs its memory, or is null. Refused by name: what is no QEMU, has no QMP socket for hecad, or has memory
/// that cannot be served.
[[nodiscard]] Result<Leaver> MakeLeaver(const AttachTarget& target, const std::string& qmp_socket,
                                        const os::UffdAbilities& abilities, Millis io_grace,
                                        std::shared_ptr<Session> session);
/// What is handed over with it; none: its memory is not governed.
[[nodiscard]] std::optional<control::Governed> HandedWith(const Leaver& leaver);

}  // namespace heca::node
