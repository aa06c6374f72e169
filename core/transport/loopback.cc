// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/loopback.h"

#include <fmt/format.h>
#include <sys/eventfd.h>

#include <cerrno>

#include "transport/loopback_channel.h"
#include "transport/loopback_site.h"
#include "wire/limits.h"

namespace heca::transport {
namespace {

class LoopbackServer final : public Server {
 public:
  explicit LoopbackServer(std::shared_ptr<LoopbackSite> site) : site_(std::move(site)) {}
  ~LoopbackServer() override { site_->StopListening(); }
  [[nodiscard]] Endpoint endpoint() const override { return site_->endpoint(); }
  [[nodiscard]] std::vector<ConnectionInfo> Connections() const override { return site_->Connections(); }
  [[nodiscard]] std::string Transport() const override { return "loopback"; }

 private:
  const std::shared_ptr<LoopbackSite> site_;
};

}  // namespace

LoopbackNetwork::LoopbackNetwork() : LoopbackNetwork(Options()) {}
LoopbackNetwork::LoopbackNetwork(Options options) : options_(options) {}
LoopbackNetwork::~LoopbackNetwork() = default;

Result<std::unique_ptr<Server>> LoopbackNetwork::Listen(const Endpoint& endpoint, Admission& admission) {
  auto site = Find(endpoint);
  HECA_RETURN_IF_ERROR(site->Listen(admission));
  return std::unique_ptr<Server>(std::make_unique<LoopbackServer>(std::move(site)));
}

Result<std::unique_ptr<Channel>> LoopbackNetwork::Dial(const Endpoint& endpoint, const Hello& hello, Deadline) {
  auto site = Find(endpoint);
  unique_fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return Status::FromErrno(errno, "eventfd", ErrorScope::kConnection);
  auto link = std::make_shared<LoopbackLink>(std::move(wake), hello);
  HECA_ASSIGN_OR_RETURN(auto memory, site->Admit(hello, link));
  if (!wire::IsPageSize(memory->PageSize().value())) {
    return Status(ErrorCode::kInternal, fmt::format("lease has pages of {} bytes", memory->PageSize().value()));
  }
  return std::unique_ptr<Channel>(std::make_unique<LoopbackChannel>(std::move(site), std::move(link),
                                                                    std::move(memory), hello.epoch, options_.credits));
}

void LoopbackNetwork::Cut(const Endpoint& endpoint) { Find(endpoint)->SetCut(true); }
void LoopbackNetwork::Restore(const Endpoint& endpoint) { Find(endpoint)->SetCut(false); }
void LoopbackNetwork::Stall(const Endpoint& endpoint) { Find(endpoint)->SetStalled(true); }
void LoopbackNetwork::Resume(const Endpoint& endpoint) { Find(endpoint)->SetStalled(false); }

std::shared_ptr<LoopbackSite> LoopbackNetwork::Find(const Endpoint& endpoint) {
  const std::lock_guard lock(mutex_);
  auto& site = sites_[endpoint.ToString()];
  if (!site) site = std::make_shared<LoopbackSite>(endpoint);
  return site;
}

}  // namespace heca::transport
