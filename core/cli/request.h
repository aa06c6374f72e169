// SPDX-License-Identifier: LGPL-2.1-or-later
// What the command line asks for, as a value.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/clock.h"
#include "cli/domain_migration.h"
#include "control/local_server.h"
#include "control/migration_types.h"
#include "control/node_types.h"
#include "domain/wish.h"
#include "heca/status.h"

namespace heca::cli {

enum class Command : std::uint8_t {
  kInvalid = 0,
  kText,  ///< help, version or completion: print `text`
  kDoctor,
  kStatus,
  kNodes,
  kRegions,
  kAttach,
  kLimit,
  kDetach,
  kMigrate,
  kMigrations,
  kSteer,
  kResolve,
  kEvents,
  kTop,
  kLeases,
  kFreeLease,
  kVersion,
  kXml,
};

struct XmlRequest {
  domain::MemoryWish wish;
  std::string file = "-";  ///< "-": standard input
  bool check = false;
};

struct Request {
  Command command = Command::kInvalid;
  std::string verb;  ///< the command's word, for messages
  std::string text;
  bool json = false;
  std::string socket = control::kDefaultSocket;
  std::optional<Millis>
      timeout;  ///< none: 30 s for questions, as long as it takes for attach, limit, detach and migrate
  control::AttachSpec attach;
  control::MigrateSpec migrate;          ///< of a QEMU that is named by its pid
  control::SteerSpec steer;
  std::optional<DomainMove> move_domain;  ///< in its place: a libvirt domain
  std::string libvirt = "qemu:///system";
  RegionId region;
  Bytes limit;
  control::LostPages lost = control::LostPages::kInvalid;
  control::EventQuery events;
  Millis interval{1000};
  std::optional<std::uint64_t> count;  ///< samples of top; none: for ever on a terminal, one in a pipe
  LeaseId lease;
  bool force = false;
  XmlRequest xml;
};

/// `args` without the program's name. kInvalidArgument: usage.
[[nodiscard]] Result<Request> ParseRequest(std::span<const std::string> args);

}  // namespace heca::cli
