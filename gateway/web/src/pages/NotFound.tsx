import { PageHead } from "../components/Frame";
import { strings } from "../strings";

export default function NotFound() {
  return <PageHead title={strings.notFound.title} intro={<a href="/">{strings.notFound.back}</a>} />;
}
