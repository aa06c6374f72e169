// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/monitor.h"

#include <sys/un.h>

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace heca::domain {
namespace {

constexpr std::string_view kQemuNamespace = "http://libvirt.org/schemas/domain/qemu/1.0";
constexpr const char* kName = "QMP socket";
constexpr const char* kMon = "chardev=heca,mode=control";

/// The prefix that stands for QEMU's namespace at <domain>, declared there if need be.
std::string QemuPrefix(pugi::xml_node domain) {
  for (const pugi::xml_attribute attribute : domain.attributes()) {
    const std::string_view name = attribute.name();
    if (name.starts_with("xmlns:") && attribute.value() == kQemuNamespace) return std::string(name.substr(6));
  }
  std::string prefix = "qemu";
  while (domain.attribute(("xmlns:" + prefix).c_str())) prefix += "-";  // stands for something else
  SetAttribute(domain, ("xmlns:" + prefix).c_str(), std::string(kQemuNamespace));
  return prefix;
}

/// The value of `key` in "socket,id=heca,path=/a,,b"; two commas stand for one.
std::optional<std::string> ValueOf(std::string_view option, std::string_view key) {
  std::string part;
  for (std::size_t i = 0; i <= option.size(); ++i) {
    const bool doubled = i + 1 < option.size() && option[i] == ',' && option[i + 1] == ',';
    if (i < option.size() && (option[i] != ',' || doubled)) {
      part += option[i];
      if (doubled) ++i;
      continue;
    }
    if (part.size() > key.size() && part.starts_with(key) && part[key.size()] == '=') {
      return part.substr(key.size() + 1);
    }
    part.clear();
  }
  return std::nullopt;
}

bool IsOption(pugi::xml_node argument, std::string_view name) {
  std::string_view value = Attribute(argument, "value");
  if (value.starts_with("--")) value.remove_prefix(1);
  return value == name;
}

/// The value behind `option` for which `match` holds, or a null node.
template <class Match>
pugi::xml_node FindValue(pugi::xml_node domain, std::string_view option, Match&& match) {
  const std::vector<pugi::xml_node> arguments = QemuArguments(domain);
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    if (IsOption(arguments[i - 1], option) && match(Attribute(arguments[i], "value"))) return arguments[i];
  }
  return {};
}

void AddArguments(pugi::xml_node domain, std::initializer_list<std::string> values) {
  pugi::xml_node commandline = Child(domain, "commandline", kQemuNamespace);
  if (!commandline) commandline = AppendElement(domain, QemuPrefix(domain) + ":commandline");
  std::string name = commandline.name();  // its children have its prefix
  name.replace(name.size() - std::string_view("commandline").size(), std::string::npos, "arg");
  for (const std::string& value : values) SetAttribute(AppendElement(commandline, name), "value", value);
}

std::string Doubled(std::string_view text) {
  std::string doubled;
  for (const char c : text) doubled += c == ',' ? std::string(",,") : std::string(1, c);
  return doubled;
}

bool IsJson(std::string_view option) { return option.starts_with('{'); }

bool IsHecaChardev(std::string_view option) {
  // In JSON the operator wrote it by hand; what is in it is not ours to judge.
  if (IsJson(option)) return option.find("\"heca\"") != std::string_view::npos;
  return ValueOf(option, "id") == "heca";
}

/// Of a chardev that is a unix socket; else "".
std::string PathOf(std::string_view option) {
  return option.starts_with("socket,") ? ValueOf(option, "path").value_or("") : "";
}

bool IsHecaMonitor(std::string_view option) {
  if (IsJson(option)) return option.find("\"heca\"") != std::string_view::npos;
  return ValueOf(option, "chardev") == "heca" || option == "heca" || option.starts_with("heca,");
}

Status EnsureChardev(pugi::xml_node domain, const HecaMemory& about, std::string_view directory,
                     std::vector<Change>& changes) {
  const std::string path =
      fmt::format("{}/{}.sock", directory, about.uuid.empty() ? about.domain : about.uuid);
  const std::string wanted = fmt::format("socket,id=heca,path={},server=on,wait=off", Doubled(path));
  const auto fits = [&]() -> Status {
    if (path.size() < sizeof(sockaddr_un::sun_path)) return Status();
    return {ErrorCode::kFailedPrecondition,
            fmt::format("QMP socket: '{}' is longer than the {} bytes that a socket's path may have; remedy: give the "
                        "domain a <uuid>, by which the socket is called then",
                        path, sizeof(sockaddr_un::sun_path) - 1)};
  };
  pugi::xml_node chardev = FindValue(domain, "-chardev", IsHecaChardev);
  if (!chardev) {
    HECA_RETURN_IF_ERROR(fits());
    AddArguments(domain, {"-chardev", wanted});
    changes.push_back({kName, fmt::format("{} is added, for hecad alone", path)});
    return Status();
  }
  const std::string_view option = Attribute(chardev, "value");
  if (IsJson(option)) return Status();
  const std::string there = PathOf(option);
  if (there.empty()) {
    return {ErrorCode::kFailedPrecondition,
            fmt::format("QMP socket: the chardev '{}' in <qemu:commandline> has the name that hecad looks for, and is "
                        "no unix socket; remedy: give it another id",
                        option)};
  }
  const std::string ours = fmt::format("{}/", directory);
  const std::string by_name = fmt::format("{}{}.sock", ours, about.domain);
  const bool foreign = there.starts_with(ours) && there != path && there != by_name;
  if (!foreign) return Status();
  HECA_RETURN_IF_ERROR(fits());
  SetAttribute(chardev, "value", wanted);
  changes.push_back({kName, fmt::format("{}, another domain's, becomes {}", there, path)});
  return Status();
}

}  // namespace

std::vector<pugi::xml_node> QemuArguments(pugi::xml_node domain) {
  std::vector<pugi::xml_node> arguments;
  for (const pugi::xml_node commandline : domain) {
    if (!Is(commandline, "commandline", kQemuNamespace)) continue;
    for (const pugi::xml_node argument : commandline) {
      if (Is(argument, "arg", kQemuNamespace)) arguments.push_back(argument);
    }
  }
  return arguments;
}

std::string SocketOf(pugi::xml_node domain) {
  const std::string_view option = Attribute(FindValue(domain, "-chardev", IsHecaChardev), "value");
  return IsJson(option) ? "" : PathOf(option);
}

Status EnsureMonitor(pugi::xml_node domain, const HecaMemory& about, std::string_view directory,
                     std::vector<Change>& changes) {
  HECA_RETURN_IF_ERROR(EnsureChardev(domain, about, directory, changes));
  pugi::xml_node monitor = FindValue(domain, "-mon", IsHecaMonitor);
  if (!monitor) {
    AddArguments(domain, {"-mon", kMon});
    changes.push_back({kName, fmt::format("-mon {} is added", kMon)});
    return Status();
  }
  const std::string_view option = Attribute(monitor, "value");
  if (IsJson(option) || ValueOf(option, "mode") == "control") return Status();
  changes.push_back({kName, fmt::format("-mon {} becomes -mon {}: hecad speaks QMP", option, kMon)});
  SetAttribute(monitor, "value", kMon);
  return Status();
}

}  // namespace heca::domain
