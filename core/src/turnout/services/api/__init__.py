"""The HTTP API, `/api/v1`: one table of endpoints makes the routes and the OpenAPI document. A module a resource."""
