// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hook/hook.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <istream>
#include <iterator>
#include <memory>
#include <ostream>

#include "base/clock.h"
#include "control/local_server.h"
#include "control/node_client.h"
#include "domain/metadata.h"
#include "domain/ready.h"
#include "heca/status.h"

namespace heca::hook {
namespace {

/// The longest that hecad may take: capture, and a source that prepares.
constexpr Millis kPatience{15'000};

Status Tell(const control::DomainEvent& event) {
  const char* const socket = std::getenv("HECA_SOCKET");
  control::NodeClientOptions options;
  options.socket_path = socket != nullptr ? socket : control::kDefaultSocket;
  options.call_timeout = kPatience;
  HECA_ASSIGN_OR_RETURN(const auto client, control::NodeClient::Create(options));
  return client->OnDomain(event);
}

/// Of a QEMU that has ended: it does so itself, unless it was killed.
void RemoveSocket(const std::string& path) {
  struct stat file {};
  if (!path.empty() && ::lstat(path.c_str(), &file) == 0 && S_ISSOCK(file.st_mode)) ::unlink(path.c_str());
}

}  // namespace

int Run(const std::vector<std::string>& arguments, std::istream& in, std::ostream& out, std::ostream& err) {
  if (arguments.size() < 2) {
    err << "heca: libvirt runs this as a hook: NAME OPERATION PHASE EXTRA, with the domain's XML as standard input\n";
    return 2;
  }
  const std::string& operation = arguments[1];
  const bool starts = operation == "started";
  const bool migrates = operation == "migrate";
  const bool is_over = operation == "release";
  if (!starts && !migrates && !is_over) return 0;
  const std::string xml{std::istreambuf_iterator<char>(in), {}};
  if (!domain::MentionsHeca(xml)) return 0;
  if (is_over) {
    RemoveSocket(domain::MonitorSocket(xml));
    return 0;
  }
  const auto refuse = [&](const Status& why) {
    err << "heca: " << arguments[0] << ": " << why.message() << '\n';
    return 1;
  };
  const auto repaired = migrates ? domain::RepairIncoming(xml) : Result<std::string>(std::string());
  if (!repaired.ok()) return refuse(repaired.status());
  const Status told = Tell({arguments[0], operation, arguments.size() > 2 ? arguments[2] : "", xml});
  if (!told.ok()) return refuse(told);
  out << *repaired;
  return 0;
}

}  // namespace heca::hook
