"""Trained networks over HTTP: `twofold serve RUN`.

| file | what |
| --- | --- |
| `settings.py` | `ServeSettings`: where, which networks, and the limits |
| `batcher.py` | `Batcher`: images that come one by one are computed several at once |
| `shelf.py` | the networks of a server: loaded, warmed up, and exchanged without a lost request |
| `uploads.py` | what a request holds, to encoded images |
| `guard.py` | who may ask: token, Host, Origin |
| `connections.py` | limits to the head of a request |
| `metrics.py` | what Prometheus reads |
| `app.py` | the routes |
| `api_words.py` | what OpenAPI says of them |
| `server.py` | `serve`: the process, its signals and its end |

The pages at / and /docs lie in the folder static: plain HTML, CSS and JavaScript.
"""
