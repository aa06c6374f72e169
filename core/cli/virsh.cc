// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/virsh.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace heca::cli {
namespace {

/// A libvirtd that answers no question within this hangs.
constexpr std::chrono::seconds kPatience{30};

std::string Trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// "error: a\nerror: b\n" becomes "libvirt: a; b".
std::string WordsOf(const std::string& err) {
  constexpr std::string_view kPrefix = "error: ";
  std::string words;
  for (std::size_t at = 0; at < err.size();) {
    const std::size_t end = std::min(err.find('\n', at), err.size());
    std::string_view line(err.data() + at, end - at);
    at = end + 1;
    if (line.starts_with(kPrefix)) line.remove_prefix(kPrefix.size());
    if (!line.empty()) words.append(words.empty() ? "" : "; ").append(line);
  }
  return "libvirt: " + (words.empty() ? "virsh failed and said nothing" : words);
}

}  // namespace

Result<Child> Virsh::Start(const std::vector<std::string>& words) const {
  std::vector<std::string> command{"virsh", "-q", "-c", connect_};
  command.insert(command.end(), words.begin(), words.end());
  auto child = Child::Start(command);
  if (child.status().code() == ErrorCode::kUnsupported) {
    return Status(ErrorCode::kUnsupported, std::string(child.status().message()) +
                                               ": install libvirt-clients, or name a QEMU by --pid if there is no libvirt");
  }
  return child;
}

Result<std::string> Virsh::Ask(const std::vector<std::string>& words, ErrorCode code) const {
  HECA_ASSIGN_OR_RETURN(Child child, Start(words));
  const std::optional<int> exit = child.Wait(kPatience);
  if (!exit) {
    child.Kill();
    return Status(ErrorCode::kDeadlineExceeded, "libvirtd has not answered for 30 s: is it stopped?");
  }
  if (*exit != 0) return Status(code, WordsOf(child.err()));
  return child.out();
}

Result<std::string> Virsh::Xml(const std::string& domain) { return Ask({"dumpxml", domain}, ErrorCode::kNotFound); }

Result<std::string> Virsh::State(const std::string& domain) {
  HECA_ASSIGN_OR_RETURN(std::string state, Ask({"domstate", domain}, ErrorCode::kNotFound));
  return Trimmed(std::move(state));
}

Result<bool> Virsh::IsPersistent(const std::string& uuid) {
  HECA_ASSIGN_OR_RETURN(const std::string uuids, Ask({"list", "--all", "--persistent", "--uuid"}, ErrorCode::kInternal));
  return uuids.find(uuid) != std::string::npos;
}

Status Virsh::Migrate(const LibvirtMigration& migration) {
  std::vector<std::string> words{"migrate", "--live", "--p2p"};
  if (migration.persistent) words.emplace_back("--persistent");
  if (migration.undefine_source) words.emplace_back("--undefinesource");
  words.insert(words.end(), {"--domain", migration.domain, "--desturi", migration.uri});
  HECA_ASSIGN_OR_RETURN(Child child, Start(words));
  migration_.emplace(std::move(child));
  return {};
}

std::optional<Status> Virsh::Migrated(Millis span) {
  const std::optional<int> exit = migration_->Wait(span);
  if (!exit) return std::nullopt;
  return *exit == 0 ? Status() : Status(ErrorCode::kInternal, WordsOf(migration_->err()));
}

Status Virsh::Abort(const std::string& domain) { return Ask({"domjobabort", domain}, ErrorCode::kFailedPrecondition).status(); }

}  // namespace heca::cli
