// SPDX-License-Identifier: LGPL-2.1-or-later
// Domain XML made ready for heca: RAM in a shared file, a QMP socket for hecad, the wish in the metadata. Everything
// else stays, and so does its layout (document.h says how far; a text that is ready comes back byte for byte).
//
// Pure functions of text; thread-safe. Doing it twice is doing it once. Errors: kInvalidArgument (the text is no
// domain XML, or what it says of heca is wrong), kFailedPrecondition (it cannot be governed; the text names each
// reason with its remedy).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "domain/findings.h"
#include "domain/metadata.h"
#include "domain/wish.h"
#include "heca/status.h"

namespace heca::domain {

struct ReadyOptions {
  /// Goes over what the metadata says already, part by part.
  MemoryWish wish;
  /// Where QEMU makes the QMP sockets; QEMU's user has to be allowed to.
  std::string qmp_directory = "/run/heca/qmp";
};

struct Plan {
  HecaMemory memory;  ///< with the wish as it will be
  std::string xml;    ///< ready, but for the refusals
  std::vector<Change> changes;
  std::vector<Refusal> refusals;
  std::vector<std::string> notes;  ///< works, but people should know
  [[nodiscard]] bool ready() const { return changes.empty() && refusals.empty(); }
};

/// What would be changed, and what stands against it.
[[nodiscard]] Result<Plan> PlanReady(std::string_view xml, const ReadyOptions& options);

/// The XML of the plan, if nothing is refused.
[[nodiscard]] Result<std::string> MakeReady(std::string_view xml, const ReadyOptions& options);

/// For a migration's destination: memory backing and QMP socket as above, the rest untouched (what the guest sees has
/// to be what it sees at the source). A domain without <heca:memory> comes back as it is. Refuses no devices: the
/// source is governed already.
///
/// Two callers. Who gives libvirt the destination's XML (Nova's driver, whose upstream strips <memoryBacking>) can
/// repair all of it. In libvirt's hook `migrate` it is too late for the source's type: libvirt compares <source> of
/// what the hook answers with what came in, and ends the migration where they differ ("Target memoryBacking source
/// 'file' doesn't match", 9.0); access, allocation, discard and the QMP socket can be repaired there.
[[nodiscard]] Result<std::string> RepairIncoming(std::string_view xml,
                                                 std::string_view qmp_directory = ReadyOptions().qmp_directory);

/// The socket that the domain's QEMU makes for hecad; "" if it makes none, or the text is no domain XML.
[[nodiscard]] std::string MonitorSocket(std::string_view xml);

}  // namespace heca::domain
