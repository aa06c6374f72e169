find_package(nlohmann_json REQUIRED)
target_link_libraries(heca_guest PUBLIC nlohmann_json::nlohmann_json)
