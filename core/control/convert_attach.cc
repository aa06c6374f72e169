// SPDX-License-Identifier: LGPL-2.1-or-later
// AttachSpec <-> message, with the checks that need no knowledge of this host.
#include <cstdint>
#include <string>
#include <utility>

#include "control/checks.h"
#include "control/convert_enum.h"
#include "control/convert_node.h"
#include "control/status_map.h"

namespace heca::control {
namespace {

constexpr int kMaxListed = 64;          // sponsors, options
constexpr std::uint32_t kMaxReplicas = 8;

Status Invalid(std::string text) { return Status(ErrorCode::kInvalidArgument, std::move(text)); }

}  // namespace

Status CheckSpec(const AttachSpec& spec) {
  if ((spec.pid != 0) == !spec.domain.empty()) return Invalid("give either a domain or a pid to attach to");
  if (spec.local_limit.has_value() && spec.ratio.has_value()) return Invalid("give either a local size or a ratio");
  return Status();
}

Status TakeTransport(v1::TransportChoice from, TransportChoice& to) {
  if (from == v1::TRANSPORT_CHOICE_INVALID) return Status();
  const TransportChoice choice = EnumFrom(from, TransportChoice::kRdma);
  if (choice == TransportChoice::kInvalid) {
    return Invalid("transport " + std::to_string(from) + " is not known to this hecad");
  }
  to = choice;
  return Status();
}

void ToMessage(const AttachSpec& from, v1::AttachRequest& to) {
  to.set_region(Utf8(from.region));
  if (from.pid != 0) to.set_pid(from.pid);
  if (!from.domain.empty()) to.set_domain(Utf8(from.domain));
  to.set_qmp_socket(Utf8(from.qmp_socket));
  v1::MappingSelector& mapping = *to.mutable_mapping();
  mapping.set_path(Utf8(from.mapping.path));
  mapping.set_inode(from.mapping.inode);
  mapping.set_address_begin(from.mapping.address_begin);
  mapping.set_address_end(from.mapping.address_end);
  if (from.local_limit.has_value()) to.set_limit_bytes(from.local_limit->value());
  if (from.ratio.has_value()) {
    to.mutable_ratio()->set_local(from.ratio->local);
    to.mutable_ratio()->set_remote(from.ratio->remote);
  }
  for (const std::string& sponsor : from.sponsors) to.add_sponsors(Utf8(sponsor));
  to.set_replicas(from.replicas);
  to.set_page_loss(EnumTo<v1::PageLoss>(from.page_loss));
  to.set_transport(EnumTo<v1::TransportChoice>(from.transport));
  for (const auto& [name, value] : from.options) {
    v1::Pair& option = *to.add_options();
    option.set_name(Utf8(name));
    option.set_value(Utf8(value));
  }
}

Result<AttachSpec> FromMessage(const v1::AttachRequest& from) {
  AttachSpec to;
  to.region = from.region();
  if (!to.region.empty()) HECA_RETURN_IF_ERROR(CheckRegionName(to.region));
  switch (from.target_case()) {
    case v1::AttachRequest::kPid:
      if (from.pid() <= 0) return Invalid("pid " + std::to_string(from.pid()) + ": must be greater than 0");
      to.pid = from.pid();
      break;
    case v1::AttachRequest::kDomain:
      HECA_RETURN_IF_ERROR(CheckName("domain", from.domain(), false));
      to.domain = from.domain();
      break;
    default: return Invalid("nothing to attach to: give a domain or a pid");
  }
  HECA_RETURN_IF_ERROR(CheckPath("the QMP socket's path", from.qmp_socket()));
  HECA_RETURN_IF_ERROR(CheckPath("the mapping's path", from.mapping().path()));
  to.qmp_socket = from.qmp_socket();
  to.mapping = {from.mapping().path(), from.mapping().inode(), from.mapping().address_begin(),
                from.mapping().address_end()};
  if (to.mapping.address_begin > to.mapping.address_end) {
    return Invalid("the mapping's address range ends before it begins");
  }
  switch (from.local_case()) {
    case v1::AttachRequest::kLimitBytes: to.local_limit = Bytes(from.limit_bytes()); break;
    case v1::AttachRequest::kRatio:
      if (from.ratio().local() == 0 || from.ratio().remote() == 0) {
        return Invalid("ratio " + std::to_string(from.ratio().local()) + ":" + std::to_string(from.ratio().remote()) +
                       ": both parts must be greater than 0");
      }
      to.ratio = Ratio{from.ratio().local(), from.ratio().remote()};
      break;
    default: break;
  }
  if (from.sponsors_size() > kMaxListed || from.options_size() > kMaxListed) {
    return Invalid("more than 64 sponsors or options");
  }
  for (const std::string& sponsor : from.sponsors()) {
    HECA_RETURN_IF_ERROR(CheckName("sponsor", sponsor, false));
    to.sponsors.push_back(sponsor);
  }
  to.replicas = from.replicas() == 0 ? 1 : from.replicas();
  if (to.replicas > kMaxReplicas) return Invalid("replicas " + std::to_string(to.replicas) + ": at most 8");
  if (from.page_loss() != v1::PAGE_LOSS_INVALID) {
    to.page_loss = EnumFrom(from.page_loss(), PageLoss::kPoison);
    if (to.page_loss == PageLoss::kInvalid) {
      return Invalid("page loss policy " + std::to_string(from.page_loss()) + " is not known to this hecad");
    }
  }
  HECA_RETURN_IF_ERROR(TakeTransport(from.transport(), to.transport));
  for (const v1::Pair& option : from.options()) {
    HECA_RETURN_IF_ERROR(CheckName("option", option.name(), false));
    HECA_RETURN_IF_ERROR(CheckPath("an option's value", option.value()));
    to.options.emplace_back(option.name(), option.value());
  }
  return to;
}

}  // namespace heca::control
