// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/fence.h"

#include <utility>

#include "guest/capture.h"

namespace heca::guest {
namespace {

Status Protect(os::Uffd& uffd, const AddressRange& range) {
  const os::UffdAnswer answer = uffd.WriteProtect(range.address, range.size, os::Arm::kYes);
  if (answer.error == 0) return Status();
  return Status::FromErrno(answer.error, "write-protecting a VM that has left", ErrorScope::kRegion);
}

}  // namespace

Status RaiseFence(pid_t pid, Qmp& qmp, const std::vector<AddressRange>& ram, const os::UffdAbilities& abilities,
                  Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(CapturedUffd captured, CaptureUffd(pid, &qmp, {}, deadline));
  os::Uffd uffd(std::move(captured.uffd));
  HECA_RETURN_IF_ERROR(uffd.Handshake(abilities.negotiated).status());
  for (const AddressRange& range : ram) {
    HECA_RETURN_IF_ERROR(uffd.Register(range.address, range.size));
    HECA_RETURN_IF_ERROR(Protect(uffd, range));
  }
  return Status();
}

Status RaiseFence(const ProcessId& process, int target_fd, const std::vector<AddressRange>& ram) {
  HECA_ASSIGN_OR_RETURN(CapturedUffd captured, TakeOverUffd(process, target_fd));
  os::Uffd uffd(std::move(captured.uffd));
  for (const AddressRange& range : ram) HECA_RETURN_IF_ERROR(Protect(uffd, range));
  return Status();
}

}  // namespace heca::guest
