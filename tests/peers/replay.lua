-- Lets wrk send the requests that a file names (`GET /v2/…`, one a line), over and over.
--
--   wrk -t1 -c8 -d3s -s replay.lua http://HOST -- FILE
--
-- It asks for manifests as reg-list does, or the registry would convert them.

local requests = {}
local place = 0

function init(args)
  local manifest = {
    ["Accept"] = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
      .. "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json",
  }
  for line in io.lines(args[1]) do
    local method, path = line:match("^(%u+) (/%S+)$")
    if method then
      local headers = path:find("/manifests/", 1, true) and manifest or {}
      requests[#requests + 1] = wrk.format(method, path, headers)
    end
  end
end

function request()
  place = place % #requests + 1
  return requests[place]
end

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function response(status)
  if status >= 400 then
    failed = (failed or 0) + 1
  end
end

-- Requests a second, and how many were answered with an error.
function done(summary)
  local failed = 0
  for _, thread in ipairs(threads) do
    failed = failed + (thread:get("failed") or 0)
  end
  local errors = summary.errors
  failed = failed + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("%.1f %d", summary.requests * 1e6 / summary.duration, failed))
end
