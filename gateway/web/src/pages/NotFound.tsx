import { Heading } from "../components/Frame";
import { strings } from "../strings";

export default function NotFound() {
  return (
    <>
      <Heading>{strings.notFound.title}</Heading>
      <p>
        <a href="/">{strings.notFound.back}</a>
      </p>
    </>
  );
}
