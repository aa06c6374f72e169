// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/app.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/unique_fd.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/request.h"
#include "cli/xml_command.h"

namespace heca::cli {
namespace {

/// Whether somebody listens on the unix socket.
bool Answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  const unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return socket.valid() &&
         ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

int Report(const Status& status, ExitCode code, std::string_view verb, bool json, const Output& output) {
  fmt::print(output.err, "hecactl: {}{}\n", verb.empty() ? "" : fmt::format("{}: ", verb), status.message());
  if (json) fmt::print(output.out, "{}\n", ErrorJson(status, static_cast<int>(code)).dump(2));
  return static_cast<int>(code);
}

/// hecad does not know why it is asked to stop; the person does.
ExitCode CodeOf(const Status& status, const Request& request) {
  if (status.code() == ErrorCode::kAborted) return ExitCode::kInterrupted;
  return ExitCodeOf(status, status.code() == ErrorCode::kUnavailable && Answers(request.socket));
}

}  // namespace

int Run(std::span<const std::string> args, const Output& output, const Connect& connect) {
  const bool json = std::find(args.begin(), args.end(), "--json") != args.end();
  const auto request = ParseRequest(args);
  if (!request.ok()) return Report(request.status(), ExitCode::kUsage, "", json, output);
  if (request->command == Command::kText) {
    fmt::print(output.out, "{}", request->text);
    return 0;
  }
  if (request->command == Command::kXml) {
    const Result<ExitCode> done = RunXml(*request, output);
    if (!done.ok()) return Report(done.status(), ExitCodeOf(done.status(), false), request->verb, json, output);
    return static_cast<int>(*done);
  }
  std::optional<Interrupt> interrupt;  // before the client makes threads
  if (IsLong(request->command)) {
    auto blocked = Interrupt::Block();
    if (!blocked.ok()) return Report(blocked.status(), ExitCode::kFailed, request->verb, json, output);
    interrupt.emplace(std::move(blocked).value());
  }
  control::NodeClientOptions options;
  options.socket_path = request->socket;
  if (request->timeout) options.call_timeout = *request->timeout;
  const auto api = connect(options);
  if (!api.ok()) return Report(api.status(), CodeOf(api.status(), *request), request->verb, json, output);
  const Result<ExitCode> done = Commands(*request, output, **api, interrupt ? &*interrupt : nullptr).Run();
  if (!done.ok()) return Report(done.status(), CodeOf(done.status(), *request), request->verb, json, output);
  return static_cast<int>(*done);
}

}  // namespace heca::cli
