// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/host.h"

#include <algorithm>
#include <cctype>

#include "os/proc.h"

namespace heca::node {
namespace {

bool IsGoodName(const RegionId& name) {
  return !name.empty() && name.size() <= 64 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
         });
}

}  // namespace

Result<std::string> HostBootId() {
  HECA_ASSIGN_OR_RETURN(std::string text, os::ReadSmallFile("/proc/sys/kernel/random/boot_id"));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::vector<control::NamedFact> KernelFacts(const os::UffdAbilities& abilities) {
  const auto yes = [](bool value) { return std::string(value ? "yes" : "no"); };
  return {{"uffd-device", yes(abilities.device)},
          {"uffd-sufficient", yes(abilities.sufficient)},
          {"uffd-poison", yes(abilities.poison)},
          {"uffd-wp-async", yes(abilities.write_protect_async)},
          {"pagemap-scan", yes(abilities.page_scan)},
          {"uffd-continue-wp", yes(abilities.continue_protected)}};
}

Status CheckSupported(const control::AttachSpec& spec, const os::UffdAbilities& abilities) {
  if (spec.replicas != 1) {
    return Status(ErrorCode::kUnsupported, std::to_string(spec.replicas) +
                                               " replicas were asked for; this version keeps one copy of a page");
  }
  if (!spec.options.empty()) {
    return Status(ErrorCode::kInvalidArgument, "unknown option '" + spec.options.front().first + "'");
  }
  if (spec.page_loss == control::PageLoss::kPoison && !abilities.poison) {
    return Status(ErrorCode::kUnsupported, "this kernel cannot poison lost pages (UFFDIO_POISON, Linux 6.6): leave out "
                                           "--on-loss poison, or run a newer kernel");
  }
  return Status();
}

Result<AttachTarget> FindTarget(const control::AttachSpec& spec) {
  if ((spec.pid != 0) == !spec.domain.empty()) {
    return Status(ErrorCode::kInvalidArgument, "give either a pid or a domain");
  }
  AttachTarget target;
  HECA_ASSIGN_OR_RETURN(target.identity,
                        spec.pid != 0 ? guest::LookupPid(spec.pid) : guest::LookupDomain(spec.domain));
  target.region = spec.region;
  if (target.region.empty()) target.region = !spec.domain.empty() ? spec.domain : "pid-" + std::to_string(spec.pid);
  if (!IsGoodName(target.region)) {
    return Status(ErrorCode::kInvalidArgument,
                  "region name '" + target.region + "': use 1 to 64 of letters, digits, '.', '_' and '-'");
  }
  return target;
}

}  // namespace heca::node
