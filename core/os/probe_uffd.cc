// SPDX-License-Identifier: LGPL-2.1-or-later
#include "os/probe_uffd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "os/uffd.h"
#include "os/uffd_abi.h"

namespace heca::os {
namespace {

/// Tries CONTINUE with write-protection on one page of a memfd; older kernels refuse the mode with EINVAL.
bool CanContinueProtected(std::uint64_t features) {
  Result<Uffd> uffd = Uffd::OpenForSelf();
  if (!uffd.ok() || !uffd->Handshake(features).ok()) return false;
  unique_fd file(::memfd_create("heca-probe", MFD_CLOEXEC));
  const std::byte byte{1};
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(kBasePage.value())) != 0 ||
      ::pwrite(file.get(), &byte, 1, 0) != 1) {
    return false;
  }
  void* page = ::mmap(nullptr, kBasePage.value(), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (page == MAP_FAILED) return false;
  const TargetAddress address(reinterpret_cast<std::uintptr_t>(page));
  const bool can = uffd->Register(address, kBasePage).ok() && uffd->Continue(address, kBasePage, Arm::kYes).error == 0;
  ::munmap(page, kBasePage.value());
  return can;
}

}  // namespace

Result<UffdAbilities> ProbeUffd() {
  UffdAbilities abilities;
  HECA_ASSIGN_OR_RETURN(Uffd uffd, Uffd::OpenForSelf());
  uffdio_api api{UFFD_API, 0, 0};
  if (::ioctl(uffd.fd(), UFFDIO_API, &api) != 0) return Status::FromErrno(errno, "UFFDIO_API");
  abilities.features = api.features;
  abilities.negotiated = WantedUffdFeatures() & api.features;
  abilities.sufficient = (api.features & RequiredUffdFeatures()) == RequiredUffdFeatures();
  abilities.poison = (api.features & abi::kFeaturePoison) != 0;
  abilities.write_protect_async = (api.features & abi::kFeatureWpAsync) != 0;
  abilities.continue_protected = CanContinueProtected(abilities.negotiated);
  const unique_fd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  abilities.device = device.valid();
  return abilities;
}

}  // namespace heca::os
