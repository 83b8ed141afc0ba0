// Shows /openapi.json as a list of what can be asked, with the fields of each request. Reads the
// server's own description and nothing else, so that it works without a network.

const make = (name, text, ...children) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};

const resolve = (document, schema) => {
  const name = schema?.$ref?.split("/").pop();
  return name ? document.components.schemas[name] : schema;
};

const typeOf = (schema) => {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const several = schema.oneOf ?? schema.anyOf;
  if (several) return several.map(typeOf).filter((type) => type !== "null").join(" or ");
  const types = [schema.type ?? "any"].flat().filter((type) => type !== "null");
  return types[0] === "array" ? `list of ${typeOf(schema.items ?? {})}` : types.join(" or ");
};

/** All fields of a schema, those of its parts included. */
const fields = (document, schema) => {
  const whole = resolve(document, schema) ?? {};
  const own = Object.entries(whole.properties ?? {});
  return [...(whole.allOf ?? []).flatMap((part) => fields(document, part)), ...own];
};

const table = (rows) =>
  make("table", "", ...rows.map(([name, type, description]) =>
    make("tr", "", make("td", "", make("code", name)), make("td", type), make("td", description))));

const operation = (document, path, method, described) => {
  const summary = make("summary", "", make("b", method.toUpperCase()), make("code", path),
    make("span", described.summary));
  const details = make("details", "", summary);
  if (described.description) details.append(make("p", described.description));
  const parameters = (described.parameters ?? []).map((parameter) =>
    [parameter.name, typeOf(parameter.schema ?? {}), parameter.description ?? ""]);
  if (parameters.length) details.append(make("p", "Parameters"), table(parameters));
  const body = Object.values(described.requestBody?.content ?? {})[0]?.schema;
  if (body) {
    const rows = fields(document, body).map(([name, schema]) =>
      [name, typeOf(schema), schema.description ?? ""]);
    details.append(make("p", "Request, in JSON"), table(rows));
  }
  const answers = Object.entries(described.responses ?? {}).map(([status, answer]) =>
    [status, Object.keys(answer.content ?? {}).join(", "), answer.description ?? ""]);
  details.append(make("p", "Answers"), table(answers));
  return details;
};

const show = async () => {
  const place = document.getElementById("operations");
  try {
    const answer = await fetch("/openapi.json");
    const api = await answer.json();
    const groups = api.tags.map((tag) => {
      const section = make("section", "", make("h2", tag.description));
      for (const [path, methods] of Object.entries(api.paths))
        for (const [method, described] of Object.entries(methods))
          if (described.tags?.includes(tag.name))
            section.append(operation(api, path, method, described));
      return section;
    });
    place.replaceChildren(...groups);
  } catch (error) {
    place.textContent = `The description cannot be read: ${error.message}`;
  }
};

show();
