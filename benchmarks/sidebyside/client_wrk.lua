-- The same hundred tasks again and again, in requests that are made once.
function init(arguments)
  local lines = {}
  for line in io.lines(arguments[1]) do
    lines[#lines + 1] = line
    if #lines == 100 then break end
  end
  wrk.method = "POST"
  wrk.path = "/jobs/bench/addtaskcollection?api-version=2024-07-01.20.0&timeout=30"
  wrk.headers["Content-Type"] = "application/json; odata=minimalmetadata"
  wrk.headers["Authorization"] = "Bearer a-token"
  wrk.body = '{"value":[' .. table.concat(lines, ",") .. "]}"
  prepared = wrk.format()
end

function request()
  return prepared
end
